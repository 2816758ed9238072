"""What a task asks of the machine: its template, met by the defaults of its run (executor.md 5.4, 5.5)."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.task import run_pb2

from alula.core.errors import Invalid, LaunchRefused
from alula.core.launch import Amounts, MoreMemory, Resources
from alula.core.quantity import parse

MORE_MEMORY = "ALULA_MORE_MEMORY"  # the environment variable by which a task, run or project asks for it

_R = tasks_pb2.Resources
_Quantities = Mapping[int, Fraction]
_MOST = 2**31  # cores, GPUs
_MIRRORED = (_R.MEMORY, _R.EPHEMERAL_STORAGE)  # CPU can be lent without harm
_OF_PODS = {
    "cpu": _R.CPU,
    "memory": _R.MEMORY,
    "ephemeral-storage": _R.EPHEMERAL_STORAGE,
    "nvidia.com/gpu": _R.GPU,
}
_ACCELERATORS = {
    tasks_pb2.GPUAccelerator.GOOGLE_TPU: "a Google TPU",
    tasks_pb2.GPUAccelerator.AMAZON_NEURON: "an Amazon Neuron device",
    tasks_pb2.GPUAccelerator.AMD_GPU: "an AMD GPU",
    tasks_pb2.GPUAccelerator.HABANA_GAUDI: "a Habana Gaudi device",
}
_APPLE_SILICON = 5  # in newer protocols; the SDK's runtime finds it, or says that there is none
_NOTHING = Fraction(0)
_RULE = re.compile(r"(?:times=(?P<times>\d{1,3})|factor=(?P<factor>\d{1,3}(?:\.\d{1,3})?)|cap=(?P<cap>\S+))")


def resources(
    template: tasks_pb2.TaskTemplate, container: tasks_pb2.Container, run: run_pb2.RunSpec, *, mirror: bool
) -> Resources:
    """What an attempt asks for and may not exceed.

    A request that is missing is what its limit is. A limit of memory or disk that is missing is what was requested, as
    on a cluster; of CPU only with ``mirror``, which makes every limit what was requested. The run's defaults are the
    least that is requested, and the most that is requested and allowed.

    Raises:
        LaunchRefused: something is no quantity; the message names it.
    """
    defaults = run.default_settings.task_resource_defaults
    least, most = _quantities(defaults.requests, "task_resource.min"), _quantities(defaults.max, "task_resource.max")
    limits = _quantities(container.resources.limits, "container.resources.limits")
    requests = {**limits, **_quantities(container.resources.requests, "container.resources.requests")}
    requests = {of: max(requests.get(of, _NOTHING), least.get(of, _NOTHING)) for of in {*requests, *least}}
    requests = {of: min(amount, most.get(of, amount)) for of, amount in requests.items()}
    missing = {of: amount for of, amount in requests.items() if of in _MIRRORED}
    limits = {**limits, **requests} if mirror else {**missing, **limits}
    limits |= {of: min(limits.get(of, amount), amount) for of, amount in most.items() if of != _R.GPU or of in limits}
    requests = {of: min(amount, limits.get(of, amount)) for of, amount in requests.items()}
    extended = template.extended_resources
    kind = extended.gpu_accelerator.device_class
    if kind == _APPLE_SILICON:
        requests.pop(_R.GPU, None)
    return Resources(
        requests=_amounts(requests, template.reuse_policy.concurrency),
        limits=_amounts(limits),
        shared_memory=_shared(extended.shared_memory),
        accelerator=_ACCELERATORS.get(kind, ""),
        more=_more([*run.envs.values, *container.env]),
    )


def times(one: Resources, count: int) -> Resources:
    """What ``count`` of them ask for together."""
    requests, limits = (
        Amounts(count * of.cpu, count * of.memory, count * of.gpu, count * of.disk) for of in (one.requests, one.limits)
    )
    return replace(one, requests=requests, limits=limits, shared_memory=count * one.shared_memory)


def of_pod(told: object) -> tasks_pb2.Resources:
    """The resources of a pod's container, of its JSON form. What Kubernetes alone knows is left out."""
    made = tasks_pb2.Resources()
    if isinstance(told, dict):
        for entries, amounts in ((made.requests, told.get("requests")), (made.limits, told.get("limits"))):
            for name, amount in amounts.items() if isinstance(amounts, dict) else ():
                if name in _OF_PODS:
                    entries.add(name=_OF_PODS[name], value=f"{amount:g}" if isinstance(amount, float) else str(amount))
    return made


def more_memory(text: str) -> MoreMemory:
    """The rule that a text spells: ``times=3 factor=2 cap=8Gi``; all but the first can be left out.

    Raises:
        Invalid: it spells none.
    """
    found: dict[str, str] = {}
    for word in text.split():
        spelled = _RULE.fullmatch(word)
        if spelled is None:
            raise Invalid(f"{word[:64]!r} is none of times=NUMBER, factor=NUMBER, cap=QUANTITY")
        found |= {name: value for name, value in spelled.groupdict().items() if value is not None}
    if "times" not in found or float(found.get("factor", 2)) <= 1:
        raise Invalid(f"{text[:64]!r}: write times=3 factor=2 cap=8Gi; the factor is more than 1")
    cap = int(parse(found["cap"])) if "cap" in found else 0
    return MoreMemory(int(found["times"]), float(found.get("factor", 2)), cap)


def _quantities(entries: Iterable[tasks_pb2.Resources.ResourceEntry], field: str) -> dict[int, Fraction]:
    found: dict[int, Fraction] = {}
    for entry in entries:
        if not entry.value:
            continue
        name = _R.EPHEMERAL_STORAGE if entry.name == _R.STORAGE else entry.name
        place = f"{field}.{_R.ResourceName.Name(entry.name)}" if entry.name in _R.ResourceName.values() else field
        found[name] = _parsed(entry.value, place)
        whole = name == _R.GPU
        if (whole and found[name].denominator != 1) or (name in (_R.CPU, _R.GPU) and found[name] > _MOST):
            raise _refused(place, f"{entry.value[:64]!r} is not a number of {'GPUs' if whole else 'CPUs'}")
    return found


def _shared(told: tasks_pb2.SharedMemory) -> int:
    return math.ceil(_parsed(told.size_limit, "extended_resources.shared_memory")) if told.size_limit else 0


def _more(variables: Iterable[literals_pb2.KeyValuePair]) -> MoreMemory | None:
    """What the task says counts before what its run says, and so before its project."""
    said = [pair.value for pair in variables if pair.key == MORE_MEMORY]
    try:
        return more_memory(said[-1]) if said else None
    except Invalid as error:
        raise _refused(f"the environment variable {MORE_MEMORY}", str(error)) from None


def _parsed(text: str, place: str) -> Fraction:
    try:
        return parse(text)
    except Invalid as error:
        raise _refused(place, str(error)) from None


def _refused(place: str, text: str) -> LaunchRefused:
    return LaunchRefused(f"{place}: {text}", code="BadTaskSpecification")


def _amounts(found: _Quantities, sharers: int = 1) -> Amounts:
    """``sharers``: so many attempts share a process, and with it what was asked for."""
    among = max(1, sharers)
    return Amounts(
        cpu=float(found.get(_R.CPU, 0)) / among,
        memory=math.ceil(found.get(_R.MEMORY, 0) / among),
        gpu=int(found.get(_R.GPU, 0)),
        disk=math.ceil(found.get(_R.EPHEMERAL_STORAGE, 0) / among),
    )
