"""Settings as messages: there and back, and what they make of a request for a run."""

from typing import Any

import pytest
from flyteidl2.core import tasks_pb2
from flyteidl2.settings import settings_definition_pb2 as definition
from flyteidl2.task import run_pb2

from alula.core.errors import Invalid
from alula.core.scope import Level, Scope
from alula.core.setting import Record, Setting, State, resolve, values
from alula.wire import settings as wire
from alula.wire.defaults import apply, complete
from tests.control.world import creation

VALUE, UNSET = definition.SETTING_STATE_VALUE, definition.SETTING_STATE_UNSET


def text(value: str) -> definition.StringSetting:
    return definition.StringSetting(state=VALUE, string_value=value)


def pairs(**entries: str) -> definition.StringMapSetting:
    return definition.StringMapSetting(state=VALUE, map_value=definition.StringMap(entries=entries))


def quantity(value: str) -> definition.QuantitySetting:
    return definition.QuantitySetting(state=VALUE, quantity_value=value)


def everything() -> definition.Settings:
    """One of each."""
    resources = {name: quantity(str(n)) for n, name in enumerate(("cpu", "gpu", "memory", "storage"), start=1)}
    accelerator = tasks_pb2.GPUAccelerator(device="nvidia-l4", device_class=tasks_pb2.GPUAccelerator.NVIDIA_GPU)
    true = definition.BoolSetting(state=VALUE, bool_value=True)
    return definition.Settings(
        run=definition.RunSettings(
            default_queue=text("gpu"),
            max_action_concurrency=definition.Int64Setting(state=VALUE, int_value=7),
            run_base_dir=text("s3://alula/base/"),
        ),
        security=definition.SecuritySettings(service_account=text("sa")),
        storage=definition.StorageSettings(raw_data_path=text("s3://raw/data")),
        task_resource=definition.TaskResourceSettings(
            min=definition.TaskResourceDefaults(**resources),
            max=definition.TaskResourceDefaults(cpu=quantity("9"), gpu=definition.QuantitySetting(state=UNSET)),
            mirror_limits_request=true,
            default_accelerator=definition.AcceleratorSetting(state=VALUE, accelerator_value=accelerator),
        ),
        labels=pairs(team="ml"),
        annotations=pairs(note="x"),
        environment_variables=pairs(A="1", B="2"),
        app=definition.AppSettings(disallow_anonymous=true, app_dns_strategy=text("shared")),
        pod_template_name=text("base"),
    )


def test_every_setting_of_the_protocol_is_known() -> None:
    """A new kind of setting in a new flyteidl2 is told here, before anybody misses it."""
    found = wire.layer(everything(), Level.ORG)
    left_out = {"task_resource.max.memory", "task_resource.max.storage"}  # as min
    assert set(found) == {leaf.path for leaf in wire._leaves()} - left_out


def test_there_and_back() -> None:
    said = wire.layer(everything(), Level.PROJECT)
    told = wire.message(said)
    assert wire.layer(told, Level.PROJECT) == said
    assert told.run.default_queue.scope_level == definition.SCOPE_LEVEL_PROJECT
    assert told.task_resource.max.gpu.state == UNSET
    assert told.labels.map_value.entries == {"team": "ml"}
    assert definition.Settings.FromString(wire.body(said)) == everything()
    assert wire.stored(Record(Scope("d"), wire.body(said), 1))["run.default_queue"].level is Level.DOMAIN


def test_what_is_inherited_leaves_nothing() -> None:
    blank = definition.Settings(labels=definition.StringMapSetting(), run=definition.RunSettings())
    blank.run.default_queue.string_value = "ignored: its state says that it is inherited"
    assert wire.layer(blank, Level.ORG) == {}
    assert wire.body({}) == b""
    unset = definition.Settings(labels=pairs(a="b"))
    unset.labels.state = UNSET
    assert wire.layer(unset, Level.ORG) == {"labels": Setting(State.UNSET, None, Level.ORG)}


def test_an_empty_map_is_a_value() -> None:
    said = wire.layer(definition.Settings(labels=pairs()), Level.DOMAIN)
    assert said == {"labels": Setting(State.VALUE, {}, Level.DOMAIN)}
    assert wire.layer(wire.message(said), Level.DOMAIN) == said


def test_what_cannot_be_said() -> None:
    wrong = definition.Settings()
    wrong.labels.state = 9  # type: ignore[assignment]
    with pytest.raises(Invalid, match=r"settings\.labels\.state: 9"):
        wire.layer(wrong, Level.ORG)
    unknown = definition.Settings()
    unknown.task_resource.default_accelerator.state = VALUE
    unknown.task_resource.default_accelerator.accelerator_value.device = "abacus"
    with pytest.raises(Invalid, match=r"'abacus' is not an accelerator.*nvidia-l4"):
        wire.layer(unknown, Level.ORG)
    with pytest.raises(Invalid, match="262144"):
        wire.body(wire.layer(definition.Settings(annotations=pairs(a="x" * 300_000)), Level.ORG))


def applied(spec: run_pb2.RunSpec, *settings: definition.Settings) -> run_pb2.RunSpec:
    said = values(resolve([wire.layer(one, Level(n)) for n, one in enumerate(settings)]))
    done = run_pb2.RunSpec()
    done.CopyFrom(spec)
    apply(done, said)
    again = run_pb2.RunSpec()
    again.CopyFrom(done)
    apply(again, said)
    assert again == done
    return done


def test_settings_fill_in_what_a_request_leaves_open() -> None:
    spec = applied(run_pb2.RunSpec(), everything())
    assert (spec.queue, spec.max_action_concurrency, spec.run_base_dir) == ("gpu", 7, "s3://alula/base/")
    assert spec.security_context.run_as.k8s_service_account == "sa"
    assert spec.raw_data_storage.raw_data_prefix == "s3://raw/data"
    assert spec.labels.values == {"team": "ml"}
    assert spec.annotations.values == {"note": "x"}
    assert {e.key: e.value for e in spec.envs.values} == {"A": "1", "B": "2"}
    defaults = spec.default_settings
    assert defaults.pod_template_name == "base"
    requests = {(e.name, e.value) for e in defaults.task_resource_defaults.requests}
    kinds = tasks_pb2.Resources
    assert requests == {(kinds.CPU, "1"), (kinds.GPU, "2"), (kinds.MEMORY, "3"), (kinds.EPHEMERAL_STORAGE, "4")}
    assert [(e.name, e.value) for e in defaults.task_resource_defaults.max] == [(kinds.CPU, "9")]
    assert defaults.task_resource_defaults.default_accelerator.device == "nvidia-l4"


def test_what_a_request_says_stands() -> None:
    asked = run_pb2.RunSpec(
        queue="own",
        max_action_concurrency=1,
        run_base_dir="s3://alula/own",
        labels=run_pb2.Labels(values={"team": "own", "x": "y"}),
        annotations=run_pb2.Annotations(values={"note": ""}),
        raw_data_storage=run_pb2.RawDataStorage(raw_data_prefix="s3://own"),
    )
    asked.envs.values.add(key="B", value="")
    asked.security_context.run_as.k8s_service_account = "own"
    spec = applied(asked, everything())
    assert (spec.queue, spec.max_action_concurrency, spec.run_base_dir) == ("own", 1, "s3://alula/own")
    assert spec.security_context.run_as.k8s_service_account == "own"
    assert spec.raw_data_storage.raw_data_prefix == "s3://own"
    assert spec.labels.values == {"team": "own", "x": "y"}
    assert spec.annotations.values == {"note": ""}
    assert [(e.key, e.value) for e in spec.envs.values] == [("B", ""), ("A", "1")]


def test_nothing_said_changes_nothing() -> None:
    asked = run_pb2.RunSpec(queue="own")
    assert applied(asked, definition.Settings()) == asked
    assert applied(run_pb2.RunSpec(), definition.Settings(labels=pairs())) == run_pb2.RunSpec()


def test_a_narrower_level_takes_a_value_away() -> None:
    without = definition.Settings(environment_variables=definition.StringMapSetting(state=UNSET))
    spec = applied(run_pb2.RunSpec(), everything(), without, definition.Settings(environment_variables=pairs(C="3")))
    assert {e.key: e.value for e in spec.envs.values} == {"C": "3"}


@pytest.mark.parametrize(
    "said", [{}, {"run.default_queue": "q", "run.max_action_concurrency": 3, "labels": {"a": "b"}}]
)
def test_a_request_for_a_run_is_completed(said: dict[str, Any]) -> None:
    spec = run_pb2.RunSpec(labels=run_pb2.Labels(values={"x": "y"}))
    spec.default_settings.pod_template_name = "forged"
    done = complete(creation(run_spec=spec.SerializeToString(), labels={"x": "y"}), said)
    opened = run_pb2.RunSpec.FromString(done.run_spec)
    assert done.labels == opened.labels.values == {"x": "y", **said.get("labels", {})}
    assert (done.queue, opened.queue) == ((said.get("run.default_queue", "")),) * 2
    assert done.max_concurrency == opened.max_action_concurrency == said.get("run.max_action_concurrency", 0)
    assert not opened.HasField("default_settings")
