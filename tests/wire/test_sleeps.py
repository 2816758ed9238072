"""Tasks that only sleep: what is started for them, and what is refused."""

from datetime import timedelta

import pytest
from flyteidl2.core import interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from alula.core.errors import LaunchRefused
from alula.core.ids import RunId
from alula.core.launch import Launch, Resources, Reuse
from alula.core.run import Run
from alula.wire import sleeps
from alula.wire.launches import resources
from tests.core.builders import NOW

RUN = Run(1, RunId("p", "d", "r"), "", b"", b"", {}, b"", 0, NOW, NOW, 1)
READY = Launch(name="a", command=("a0", "--inputs", "i"), env={"K": "v"}, image="some", reuse=Reuse("k"))


def spec(*inputs: int, outputs: int = 0, kind: str = "core-sleep") -> bytes:
    """Of a task with inputs `x0`, `x1`, ... of these simple types."""
    template = tasks_pb2.TaskTemplate(type=kind)
    for at, simple in enumerate(inputs):
        variable = interface_pb2.Variable(type=types_pb2.LiteralType(simple=simple))  # type: ignore[arg-type]
        template.interface.inputs.variables.append(interface_pb2.VariableEntry(key=f"x{at}", value=variable))
    for at in range(outputs):
        template.interface.outputs.variables.append(interface_pb2.VariableEntry(key=f"o{at}"))
    return task_definition_pb2.TaskSpec(task_template=template).SerializeToString()


def inputs(name: str, span: timedelta | None) -> bytes:
    primitive = literals_pb2.Primitive(integer=1)
    if span is not None:
        primitive.duration.FromTimedelta(span)
    value = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    return common_pb2.Inputs(literals=[common_pb2.NamedLiteral(name=name, value=value)]).SerializeToString()


@pytest.mark.parametrize(
    ("span", "word"),
    [
        (timedelta(seconds=60), "60.000000"),
        (timedelta(milliseconds=1500), "1.500000"),
        (timedelta(), "0.000000"),
        (timedelta(days=40), "3456000.000000"),
    ],
)
def test_a_process_sleeps(span: timedelta, word: str) -> None:
    asleep = sleeps.asleep(READY, spec(types_pb2.DURATION), inputs("x0", span))
    assert asleep.command == ("sleep", word)
    assert (asleep.name, asleep.env, asleep.image, asleep.reuse) == ("a", {"K": "v"}, "", None)


@pytest.mark.parametrize(
    ("body", "given", "why"),
    [
        (spec(), inputs("x0", timedelta(1)), "one input, a timedelta"),
        (spec(types_pb2.INTEGER), inputs("x0", None), "one input, a timedelta"),
        (spec(types_pb2.DURATION, types_pb2.DURATION), inputs("x0", timedelta(1)), "one input, a timedelta"),
        (spec(types_pb2.DURATION, outputs=1), inputs("x0", timedelta(1)), "cannot have outputs"),
        (spec(types_pb2.DURATION), b"", "'x0' is missing"),
        (spec(types_pb2.DURATION), inputs("x0", None), "'x0' is missing"),
        (spec(types_pb2.DURATION), inputs("x0", timedelta(seconds=-1.5)), "cannot sleep for -1.5 s"),
    ],
)
def test_what_cannot_sleep(body: bytes, given: bytes, why: str) -> None:
    with pytest.raises(LaunchRefused, match=why) as refused:
        sleeps.asleep(READY, body, given)
    assert refused.value.code == "BadTaskSpecification"


@pytest.mark.parametrize(("kind", "only"), [("core-sleep", True), ("python", False), ("", False)])
def test_which_tasks_only_sleep(kind: str, only: bool) -> None:
    assert sleeps.only(spec(kind=kind)) is only


def test_it_asks_for_nothing_of_the_machine() -> None:
    assert resources(RUN, spec(types_pb2.DURATION), mirror=False) == Resources(light=True)
    assert not resources(RUN, spec(types_pb2.DURATION, kind="riddle"), mirror=False).light
