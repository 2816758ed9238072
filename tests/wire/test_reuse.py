"""A reuse policy as the SDK spells it, and which launches may share a process by it."""

from dataclasses import replace
from pathlib import Path

import flyte
import pytest
from flyte._internal.runtime.task_serde import translate_task_to_wire
from flyte.models import CodeBundle, SerializationContext
from flyteidl2.core import tasks_pb2

from alula.core.launch import Launch, Reuse, SecretFile
from alula.wire.reuse import reuse

COMMAND = ("a0", "--inputs", "s3://in", "--tgz", "s3://code", "--dest", ".", "--resolver", "R", "mod", "m")
LAUNCH = Launch("one", COMMAND, {"A": "1", "ACTION_NAME": "a1", "FLYTE_ATTEMPT_NUMBER": "0"}, image="image")


def template(scope: str = "global") -> tasks_pb2.TaskTemplate:
    policy = flyte.ReusePolicy(replicas=(1, 3), concurrency=2, idle_ttl=40, scaledown_ttl=35, scope=scope)  # type: ignore[arg-type]
    env = flyte.TaskEnvironment(name="warm", reusable=policy)

    @env.task
    async def work(x: int) -> int:
        return x

    code = CodeBundle(tgz="s3://code", destination=".", computed_version="v")
    context = SerializationContext("1", "p", "d", "o", code, root_dir=Path())
    found: tasks_pb2.TaskTemplate = translate_task_to_wire(work, context).task_template
    return found


def test_the_policy_of_the_sdk() -> None:
    found = reuse(template(), LAUNCH, "p/d/r1", "a0")
    assert found is not None
    assert (found.least, found.most, found.concurrency, found.idle, found.scaledown) == (1, 3, 2, 40, 35)
    assert (found.caller, found.called) == ("p/d/r1/a0", "p/d/r1/a1")
    assert "ACTION_NAME" in found.own
    assert "A" not in found.own


def test_an_older_sdk_says_it_in_the_free_part() -> None:
    told = template()
    told.ClearField("reuse_policy")
    found = reuse(told, LAUNCH, "r1", "")
    assert found is not None
    assert (found.least, found.most, found.concurrency, found.idle, found.scaledown) == (1, 3, 2, 40, 35)


def test_a_task_without_a_policy() -> None:
    assert reuse(tasks_pb2.TaskTemplate(type="python"), LAUNCH, "r1", "") is None


def _key(launch: Launch = LAUNCH, run: str = "r1", scope: str = "global") -> str:
    found = reuse(template(scope), launch, run, "")
    assert isinstance(found, Reuse)
    return found.key


@pytest.mark.parametrize(
    "other",
    [
        replace(LAUNCH, name="two"),
        replace(LAUNCH, env={"A": "1", "ACTION_NAME": "a2", "RUN_NAME": "r2", "FLYTE_ATTEMPT_NUMBER": "3"}),
        replace(LAUNCH, command=("a0", "--inputs", "s3://other", *COMMAND[3:-1], "n")),
    ],
)
def test_what_is_an_attempts_own_does_not_matter(other: Launch) -> None:
    assert _key(other) == _key()


@pytest.mark.parametrize(
    "other",
    [
        replace(LAUNCH, env={**LAUNCH.env, "A": "2"}),
        replace(LAUNCH, env={**LAUNCH.env, "B": ""}),
        replace(LAUNCH, image="another"),
        replace(LAUNCH, command=tuple(word.replace("code", "newer") for word in COMMAND)),
        replace(LAUNCH, files=(SecretFile("a/b", b"secret"),)),
    ],
)
def test_what_a_process_shares_is_in_the_key(other: Launch) -> None:
    assert _key(other) != _key()


def test_the_scope() -> None:
    assert _key(run="r1") == _key(run="r2")
    assert _key(run="r1", scope="run") != _key(run="r2", scope="run")
    assert _key(scope="run") != _key()


def test_no_secret_is_shown() -> None:
    assert "hidden" not in repr(reuse(template(), replace(LAUNCH, env={"S": "hidden"}), "r", ""))
