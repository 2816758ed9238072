"""What a task asks of the machine: its template and the SDK's words for it, met by the defaults of its run."""

from typing import Any

import flyte
import pytest
from flyte._internal.runtime.resources_serde import get_proto_extended_resources, get_proto_resources
from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.task import run_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from alula.core.errors import Invalid, LaunchRefused
from alula.core.launch import Amounts, MoreMemory, Resources
from alula.wire.resources import MORE_MEMORY, more_memory, of_pod, resources, times

_R = tasks_pb2.Resources
_MIB, _GIB = 1024**2, 1024**3

Entries = dict[int, str]


def entries(amounts: Entries) -> list[tasks_pb2.Resources.ResourceEntry]:
    return [_R.ResourceEntry(name=name, value=value) for name, value in amounts.items()]  # type: ignore[arg-type]


def asked(
    requests: Entries | None = None,
    limits: Entries | None = None,
    *,
    least: Entries | None = None,
    most: Entries | None = None,
    mirror: bool = False,
) -> Resources:
    container = tasks_pb2.Container(
        resources=tasks_pb2.Resources(requests=entries(requests or {}), limits=entries(limits or {}))
    )
    run = run_pb2.RunSpec()
    run.default_settings.task_resource_defaults.requests.extend(entries(least or {}))
    run.default_settings.task_resource_defaults.max.extend(entries(most or {}))
    return resources(tasks_pb2.TaskTemplate(), container, run, mirror=mirror)


def of_sdk(told: flyte.Resources, **more: Any) -> Resources:
    """As the SDK writes it."""
    container = tasks_pb2.Container(resources=get_proto_resources(told))
    template = tasks_pb2.TaskTemplate(extended_resources=get_proto_extended_resources(told), **more)
    return resources(template, container, run_pb2.RunSpec(), mirror=False)


@pytest.mark.parametrize(
    ("told", "requests", "limits"),
    [
        (flyte.Resources(), Amounts(), Amounts()),
        (flyte.Resources(cpu=1), Amounts(cpu=1), Amounts()),
        (flyte.Resources(cpu=0.5), Amounts(cpu=0.5), Amounts()),
        (flyte.Resources(cpu="500m"), Amounts(cpu=0.5), Amounts()),
        (flyte.Resources(cpu=(1, 4)), Amounts(cpu=1), Amounts(cpu=4)),
        (flyte.Resources(memory="250Mi"), Amounts(memory=250 * _MIB), Amounts(memory=250 * _MIB)),
        (flyte.Resources(memory=("1Gi", "4Gi")), Amounts(memory=_GIB), Amounts(memory=4 * _GIB)),
        (flyte.Resources(gpu=2), Amounts(gpu=2), Amounts()),
        (flyte.Resources(gpu="T4:4"), Amounts(gpu=4), Amounts()),
        (flyte.Resources(gpu=0), Amounts(), Amounts()),
        (flyte.Resources(disk="10Gi"), Amounts(disk=10 * _GIB), Amounts(disk=10 * _GIB)),
        (flyte.Resources(memory="1.5G"), Amounts(memory=1_500_000_000), Amounts(memory=1_500_000_000)),
    ],
)
def test_what_the_sdk_says(told: flyte.Resources, requests: Amounts, limits: Amounts) -> None:
    found = of_sdk(told)
    assert (found.requests, found.limits) == (requests, limits)
    assert (found.shared_memory, found.accelerator, found.more) == (0, "", None)


@pytest.mark.parametrize(("told", "bytes_"), [("1Gi", _GIB), ("auto", 0), ("1500m", 2)])
def test_shared_memory(told: str, bytes_: int) -> None:
    assert of_sdk(flyte.Resources(shm=told)).shared_memory == bytes_


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        (flyte.TPU("V5P", "2x2x1"), "a Google TPU"),
        (flyte.Neuron("Trn1"), "an Amazon Neuron device"),
        (flyte.AMD_GPU("MI100"), "an AMD GPU"),
        (flyte.HABANA_GAUDI("Gaudi1"), "a Habana Gaudi device"),
        (flyte.GPU("A100", 1), ""),
    ],
)
def test_devices_that_are_no_gpus_have_names(device: Any, kind: str) -> None:
    assert of_sdk(flyte.Resources(gpu=device)).accelerator == kind


def test_the_mac_is_the_sdks_own_affair() -> None:
    template = tasks_pb2.TaskTemplate()
    template.extended_resources.gpu_accelerator.device_class = 5  # type: ignore[assignment]
    container = tasks_pb2.Container(resources=tasks_pb2.Resources(requests=entries({_R.GPU: "1", _R.MEMORY: "1Gi"})))
    found = resources(template, container, run_pb2.RunSpec(), mirror=False)
    assert (found.requests, found.accelerator) == (Amounts(memory=_GIB), "")


def test_those_who_share_a_process_share_what_was_asked_for() -> None:
    found = of_sdk(flyte.Resources(cpu=2, memory="4Gi"), reuse_policy=tasks_pb2.ReusePolicy(concurrency=4))
    assert found.requests == Amounts(cpu=0.5, memory=_GIB)
    assert found.limits == Amounts(memory=4 * _GIB), "of the process"


_CPU, _MEMORY, _GPU = _R.CPU, _R.MEMORY, _R.GPU


@pytest.mark.parametrize(
    ("told", "requests", "limits"),
    [
        # A request that is missing is the limit, and never more than it.
        ({"limits": {_CPU: "2", _MEMORY: "2"}}, Amounts(cpu=2, memory=2), Amounts(cpu=2, memory=2)),
        ({"requests": {_MEMORY: "9"}, "limits": {_MEMORY: "5"}}, Amounts(memory=5), Amounts(memory=5)),
        # The least that a project gives, also where a task says nothing.
        ({"least": {_CPU: "1", _MEMORY: "3"}}, Amounts(cpu=1, memory=3), Amounts(memory=3)),
        ({"requests": {_CPU: "2"}, "least": {_CPU: "1"}}, Amounts(cpu=2), Amounts()),
        ({"requests": {_CPU: "500m"}, "least": {_CPU: "1"}}, Amounts(cpu=1), Amounts()),
        # The most that it gives: a limit also for those who say nothing, but no GPU for those who ask for none.
        ({"most": {_CPU: "2", _MEMORY: "5", _GPU: "1"}}, Amounts(), Amounts(cpu=2, memory=5)),
        (
            {"requests": {_MEMORY: "9", _GPU: "4"}, "most": {_MEMORY: "5", _GPU: "1"}},
            Amounts(memory=5, gpu=1),
            Amounts(memory=5),
        ),
        (
            {"requests": {_CPU: "1"}, "limits": {_CPU: "9"}, "most": {_CPU: "4"}},
            Amounts(cpu=1),
            Amounts(cpu=4),
        ),
        # Mirrored: what was requested is also the limit.
        ({"requests": {_CPU: "1"}, "mirror": True}, Amounts(cpu=1), Amounts(cpu=1)),
        ({"requests": {_CPU: "1"}, "limits": {_CPU: "4"}, "mirror": True}, Amounts(cpu=1), Amounts(cpu=1)),
        ({"least": {_CPU: "1", _MEMORY: "3"}, "mirror": True}, Amounts(cpu=1, memory=3), Amounts(cpu=1, memory=3)),
        ({"mirror": True}, Amounts(), Amounts()),
        # Other names for disk, empty values, things that are nothing to this machine.
        ({"requests": {_R.STORAGE: "7"}}, Amounts(disk=7), Amounts(disk=7)),
        ({"requests": {_CPU: "", _R.UNKNOWN: "3"}}, Amounts(), Amounts()),
    ],
)
def test_requests_limits_and_defaults(told: dict[str, Any], requests: Amounts, limits: Amounts) -> None:
    found = asked(**told)
    assert (found.requests, found.limits) == (requests, limits)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"requests": {_CPU: "many"}}, "container.resources.requests.CPU: 'many' is not a quantity"),
        ({"limits": {_MEMORY: "-1Gi"}}, "container.resources.limits.MEMORY: '-1Gi' is not a quantity"),
        ({"requests": {_GPU: "500m"}}, "container.resources.requests.GPU: '500m' is not a number of GPUs"),
        ({"requests": {_CPU: "1e18"}}, "container.resources.requests.CPU: '1e18' is not a number of CPUs"),
        ({"requests": {_MEMORY: "9E"}, "limits": {_MEMORY: "99E"}}, "limits.MEMORY: '99E' is too large"),
        ({"most": {_MEMORY: "x" * 999}}, "task_resource.max.MEMORY"),
    ],
)
def test_what_is_no_amount_is_named(told: dict[str, Any], says: str) -> None:
    with pytest.raises(LaunchRefused) as refused:
        asked(**told)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300
    assert refused.value.code == "BadTaskSpecification"


def test_of_several_machines_in_one() -> None:
    one = Resources(Amounts(1.5, 10, 1, 3), Amounts(2, 20), shared_memory=5, more=MoreMemory(1))
    assert times(one, 1) == one
    assert times(one, 3) == Resources(Amounts(4.5, 30, 3, 9), Amounts(6, 60), shared_memory=15, more=MoreMemory(1))


def test_of_a_pod() -> None:
    told = Struct()
    told.update({
        "requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": 1, "smarter-devices/fuse": 1},
        "limits": {"cpu": 2, "ephemeral-storage": "1Gi"},
    })  # fmt: skip
    made = of_pod(MessageToDict(told))
    assert {e.name: e.value for e in made.requests} == {_CPU: "500m", _MEMORY: "1Gi", _GPU: "1"}
    assert {e.name: e.value for e in made.limits} == {_CPU: "2", _R.EPHEMERAL_STORAGE: "1Gi"}
    for odd in (None, "x", [1], {"requests": 7}):
        assert not of_pod(odd).ByteSize()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("times=3", MoreMemory(3)),
        ("times=2 factor=1.5 cap=8Gi", MoreMemory(2, 1.5, 8 * _GIB)),
        (" cap=1G  times=1 ", MoreMemory(1, 2.0, 10**9)),
        ("times=0", MoreMemory(0)),
    ],
)
def test_more_memory(text: str, rule: MoreMemory) -> None:
    assert more_memory(text) == rule


@pytest.mark.parametrize("text", ["", "3", "times=-1", "times=x", "factor=2", "times=1 factor=1", "times=1 cap=lots"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        more_memory(text)


def test_the_tasks_own_word_counts_before_its_runs() -> None:
    own = literals_pb2.KeyValuePair(key=MORE_MEMORY, value="times=1")
    run = run_pb2.RunSpec(envs=run_pb2.Envs(values=[literals_pb2.KeyValuePair(key=MORE_MEMORY, value="times=5")]))
    template = tasks_pb2.TaskTemplate()
    assert resources(template, tasks_pb2.Container(), run, mirror=False).more == MoreMemory(5)
    assert resources(template, tasks_pb2.Container(env=[own]), run, mirror=False).more == MoreMemory(1)
    wrong = literals_pb2.KeyValuePair(key=MORE_MEMORY, value="please")
    with pytest.raises(LaunchRefused, match=MORE_MEMORY):
        resources(template, tasks_pb2.Container(env=[wrong]), run, mirror=False)
