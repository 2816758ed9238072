"""Tasks that sleep, and tasks that echo: what they leave behind and when they are over."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2
from google.protobuf.json_format import ParseDict

from alula.blobs.store import Blobs
from alula.core.taskaction import Stage
from alula.manager.plugins.base import BadTask, Task
from alula.manager.plugins.echo import EchoPlugin
from alula.manager.plugins.sleep import SleepPlugin
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, task_template
from .statuses import NOW

DURATION: dict[str, Any] = {"type": {"simple": "DURATION"}}
TEXT: dict[str, Any] = {"type": {"simple": "STRING"}}


@pytest.fixture
def store(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def variables(**types: dict[str, Any]) -> dict[str, Any]:
    return {"variables": [{"key": name, "value": kind} for name, kind in types.items()]}


def task(kind: str, inputs: dict[str, Any], outputs: dict[str, Any] | None = None) -> Task:
    interface = {"inputs": variables(**inputs), "outputs": variables(**(outputs or {}))}
    template = task_template({"type": kind, "interface": interface})
    request = replace(REQUEST, task_type=kind, input_uri="s3://alula/r1/a0", output_uri="s3://alula/r1/a0/1")
    return Task(request, template, "work", PodSettings())


async def given(store: Blobs, **values: Any) -> None:
    literals = [
        common_pb2.NamedLiteral(
            name=name,
            value=ParseDict({"scalar": {"primitive": value}}, literals_pb2.Literal(), ignore_unknown_fields=True),
        )
        for name, value in values.items()
    ]
    await store.put("s3://alula/r1/a0/inputs.pb", common_pb2.Inputs(literals=literals).SerializeToString())


async def test_a_sleep_is_over_when_its_time_is(store: Blobs) -> None:
    plugin, sleep = SleepPlugin(store), task("core-sleep", {"span": DURATION})
    await given(store, span={"duration": "90s"})
    assert await plugin.knows(sleep)
    handle = await plugin.create(sleep, NOW)
    later = SleepPlugin(store)  # another Manager: its start does not matter
    early = await later.get(sleep, handle, NOW + timedelta(seconds=89))
    assert (early.state.stage, early.look_again) == (Stage.RUNNING, NOW + timedelta(seconds=90))
    over = await later.get(sleep, handle, NOW + timedelta(seconds=500))
    assert over.look_again is None
    assert over.state.stage is Stage.SUCCEEDED
    assert (over.state.started_at, over.state.ended_at) == (NOW, NOW + timedelta(seconds=90))


async def test_a_sleep_of_nothing_is_over_at_once(store: Blobs) -> None:
    plugin, sleep = SleepPlugin(store), task("core-sleep", {"span": DURATION})
    await given(store, span={"duration": "0s"})
    assert (await plugin.get(sleep, await plugin.create(sleep, NOW), NOW)).state.stage is Stage.SUCCEEDED


@pytest.mark.parametrize(
    ("inputs", "outputs", "values", "message"),
    [
        ({"text": TEXT}, {}, {"text": {"stringValue": "a"}}, "one input, a timedelta"),
        ({"a": DURATION, "b": DURATION}, {}, {}, "one input, a timedelta"),
        ({"span": DURATION}, {"o": TEXT}, {"span": {"duration": "1s"}}, "cannot have outputs"),
        ({"span": DURATION}, {}, {"other": {"duration": "1s"}}, "lacks its input 'span'"),
        ({"span": DURATION}, {}, {"span": {"duration": "-1s"}}, "cannot sleep for -1 s"),
    ],
)
async def test_what_cannot_sleep_is_refused(
    store: Blobs, inputs: dict[str, Any], outputs: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    await given(store, **values)
    with pytest.raises(BadTask, match=message):
        await SleepPlugin(store).create(task("core-sleep", inputs, outputs), NOW)


async def test_inputs_that_are_not_there_are_named(store: Blobs) -> None:
    with pytest.raises(BadTask, match=r"s3://alula/r1/a0/inputs\.pb") as refused:
        await SleepPlugin(store).create(task("core-sleep", {"span": DURATION}), NOW)
    assert refused.value.code == "InputsNotFound"


async def test_an_echo_leaves_what_it_was_given(store: Blobs) -> None:
    plugin, echo = EchoPlugin(store), task("echo", {"a": TEXT, "b": TEXT}, {"o0": TEXT, "o1": TEXT})
    await given(store, b={"stringValue": "second"}, a={"stringValue": "first"})
    handle = await plugin.create(echo, NOW)
    assert (await plugin.get(echo, handle, NOW)).state.stage is Stage.SUCCEEDED
    left = common_pb2.Outputs.FromString(await store.get("s3://alula/r1/a0/1/outputs.pb"))
    assert [(one.name, one.value.scalar.primitive.string_value) for one in left.literals] == [
        ("o0", "first"),
        ("o1", "second"),
    ]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({"o0": TEXT, "o1": TEXT}, "2 outputs and but 1 inputs"), ({"o0": TEXT}, "lacks its input 'a'")],
)
async def test_what_cannot_echo_is_refused(store: Blobs, outputs: dict[str, Any], message: str) -> None:
    await given(store, other={"stringValue": "x"})
    with pytest.raises(BadTask, match=message):
        await EchoPlugin(store).create(task("echo", {"a": TEXT}, outputs), NOW)


async def test_each_knows_its_own_type_alone(store: Blobs) -> None:
    sleep, echo = SleepPlugin(store), EchoPlugin(store)
    found = [
        [await plugin.knows(task(kind, {})) for kind in ("core-sleep", "echo", "python")] for plugin in (sleep, echo)
    ]
    assert found == [[True, False, False], [False, True, False]]
