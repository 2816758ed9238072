"""What the administrator of a cluster says of all pods (the section ``manager.pods`` of the Manager's settings)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class PodSettings:
    """Values as they are in a pod's manifest, where nothing else is said."""

    template: str = ""  # the PodTemplate that all pods start from
    service_account: str = ""
    scheduler: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # of every container
    env_from_secret: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # variable -> Secret, key in it
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Mapping[str, Any] | None = None
    resource_tolerations: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by resource
    interruptible_tolerations: Sequence[Mapping[str, Any]] = ()
    interruptible_selector: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "1Gi"})  # of primary containers
    gpu_resource: str = "nvidia.com/gpu"
    gpu_device_label: str = "k8s.amazonaws.com/accelerator"
    gpu_partition_label: str = "k8s.amazonaws.com/gpu-partition-size"
    accelerators: Mapping[str, str] = field(default_factory=dict)  # device -> what its nodes are labelled with
    image_pull_secrets: Sequence[str] = ()
    image_pull_grace: timedelta = timedelta(minutes=3)
    create_container_grace: timedelta = timedelta(minutes=3)
    pending_timeout: timedelta | None = None  # for a node and all that comes before a pod runs
    creating_timeout: timedelta | None = timedelta(hours=1)  # for volumes, network and image, once it has a node
    copilot_image: str = "alula:latest"  # our own image; its entry point is `alula copilot`
    upload_timeout: timedelta = timedelta(hours=1)  # for what a raw container leaves
    security_context: Mapping[str, Any] | None = None
    host_network: bool = False
    log_links: Sequence[tuple[str, str]] = ()  # name, template of a URI
