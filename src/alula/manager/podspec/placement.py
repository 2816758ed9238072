"""Where a pod may run: nodes for spot and for accelerators, tolerations, affinity (executor.md 5.5, 5.6)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyteidl2.core import tasks_pb2

from alula.manager.podspec.resources import requested
from alula.manager.podspec.settings import PodSettings

_A = tasks_pb2.GPUAccelerator
PARTITIONS = "platform.union.ai/gpu-partition-slices"  # a label: of how many slices a pod's partition is
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

_RESOURCES = {
    _A.GOOGLE_TPU: "google.com/tpu",
    _A.AMAZON_NEURON: "aws.amazon.com/neuron",
    _A.AMD_GPU: "amd.com/gpu",
    _A.HABANA_GAUDI: "habana.ai/gaudi",
}
_TPU_LABELS = "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"

# What the nodes that have a device are labelled with; PodSettings.accelerators says otherwise for a cluster.
_DEVICES = {
    "A10": "nvidia-a10", "A10G": "nvidia-a10g", "A100": "nvidia-tesla-a100", "A100 80G": "nvidia-a100-80gb",
    "A100G": "nvidia-a100g", "B200": "nvidia-b200", "GB200": "nvidia-gb200", "H100": "nvidia-h100",
    "H100 80G": "nvidia-h100-80gb", "H100 MEGA 80G": "nvidia-h100-mega-80gb", "H200": "nvidia-h200",
    "K80": "nvidia-tesla-k80", "L4": "nvidia-l4", "L40S": "nvidia-l40s", "L4_VWS": "nvidia-l4-vws",
    "M60": "nvidia-tesla-m60", "P4": "nvidia-tesla-p4", "P100": "nvidia-tesla-p100",
    "RTX PRO 6000": "nvidia-rtx-pro-6000", "T4": "nvidia-tesla-t4", "V100": "nvidia-tesla-v100",
    "V5E": "tpu-v5-lite-podslice", "V5P": "tpu-v5p-slice", "V6E": "tpu-v6e-slice",
    "INF1": "aws-neuron-inf1", "INF2": "aws-neuron-inf2", "TRN1": "aws-neuron-trn1", "TRN1N": "aws-neuron-trn1n",
    "TRN2": "aws-neuron-trn2", "TRN2U": "aws-neuron-trn2u",
    "MI100": "amd-mi100", "MI210": "amd-mi210", "MI250": "amd-mi250", "MI250X": "amd-mi250x",
    "MI300A": "amd-mi300a", "MI300X": "amd-mi300x", "MI325X": "amd-mi325x", "MI350X": "amd-mi350x",
    "MI355X": "amd-mi355x", "GAUDI1": "habana-gaudi-dl1",
}  # fmt: skip

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The device that a task asks for, as nodes and pods of this cluster call it."""

    resource: str
    device: str
    device_label: str
    partition: str
    partition_label: str
    whole: bool  # no part of a device will do


def accelerator(asked: tasks_pb2.ExtendedResources, settings: PodSettings) -> Accelerator:
    """What GPUs are; a task that says nothing of it gets the cluster's usual ones."""
    wanted = asked.gpu_accelerator
    labels = settings.gpu_device_label, settings.gpu_partition_label
    if wanted.device_class == _A.GOOGLE_TPU:
        labels = _TPU_LABELS
    return Accelerator(
        resource=_RESOURCES.get(wanted.device_class, settings.gpu_resource),
        device=_device(wanted.device, settings.accelerators),
        device_label=labels[0],
        partition=wanted.partition_size,
        partition_label=labels[1],
        whole=wanted.unpartitioned,
    )


def placed(spec: Spec, settings: PodSettings, device: Accelerator, *, interruptible: bool) -> Spec:
    """A spec with all that decides about its node.

    What the pod says stays; selectors and tolerations of the administrator are added, an affinity of his only where
    there is none. Requirements are added to every term of a required affinity.
    """
    asked = requested((*spec.get("initContainers", ()), *spec["containers"]))
    tolerations = [*spec.get("tolerations", ()), *settings.tolerations]
    tolerations += [one for name in sorted(asked) for one in settings.resource_tolerations.get(name, ())]
    selector = {**settings.node_selector, **spec.get("nodeSelector", {})}
    affinity = spec.get("affinity") or settings.affinity or {}
    if interruptible:
        tolerations += settings.interruptible_tolerations
        selector |= settings.interruptible_selector
    if device.resource in asked:
        requirements, tolerated = _device_terms(device)
        affinity = _requiring(affinity, requirements)
        tolerations += tolerated
    found = {"tolerations": _distinct(tolerations), "nodeSelector": selector, "affinity": affinity}
    return {**spec, **{key: value for key, value in found.items() if value}}


def partition_label(device: Accelerator) -> dict[str, str]:
    """``1g.5gb`` is of one slice."""
    slices = device.partition.partition("g.")[0]
    return {PARTITIONS: slices} if slices.isdigit() else {}


def _device(name: str, own: Mapping[str, str]) -> str:
    return own.get(name) or _DEVICES.get(name.upper(), name)


def _device_terms(device: Accelerator) -> tuple[list[Spec], list[Spec]]:
    requirements, tolerations = [], []
    for label, value in ((device.device_label, device.device), (device.partition_label, device.partition)):
        if value:
            requirements.append({"key": label, "operator": "In", "values": [value]})
            tolerations.append({"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"})
    if device.whole:
        requirements.append({"key": device.partition_label, "operator": "DoesNotExist"})
    return requirements, tolerations


def _requiring(affinity: Mapping[str, Any], requirements: Sequence[Spec]) -> Spec:
    """Terms are alternatives: each of them is to require what is required."""
    if not requirements:
        return dict(affinity)
    node = affinity.get("nodeAffinity") or {}
    terms = (node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    terms = [{**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *requirements]} for term in terms]
    return {**affinity, "nodeAffinity": {**node, _REQUIRED: {"nodeSelectorTerms": terms}}}


def _distinct(items: Iterable[Mapping[str, Any]]) -> list[Spec]:
    found: list[Spec] = []
    for item in items:
        if item not in found:
            found.append(dict(item))
    return found
