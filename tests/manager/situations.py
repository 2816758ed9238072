"""Situations that a pod can be in, and what they mean: statuses as kubelets, schedulers and controllers write them."""

from typing import NamedTuple

from alula.core.taskaction import Stage
from alula.kube.objects import Object
from alula.manager.podspec.copilot import DOWNLOAD, UPLOAD

from .statuses import condition, disrupted, ended, placed, pod, running, unplaced, waiting

BACK_OFF = 'Back-off pulling image "ghcr.io/shop/tasks:1"'
NOT_THERE = 'rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/shop/tasks:1": not found'
LIMITED = "pull QPS exceeded: toomanyrequests: 429 Too Many Requests"
ROOMLESS = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available"
NO_SECRET = 'secret "r1-a0.0123456789ab.1" not found'
LATE_SECRET = "failed to sync secret cache: timed out waiting for the condition"
LOW = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. Container primary was using 3Gi"
)
FULL = 'Container primary exceeded its local ephemeral storage limit "1Gi". '
EMPTY_DIR = 'Usage of EmptyDir volume "flyte-outputs" exceeds the limit "20Gi". '
POD_FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
NO_PROGRAM = 'failed to create containerd task: failed to start: exec: "run": executable file not found in $PATH'
TOO_SMALL = "failed to create containerd task: container init was OOM-killed (memory limit too low?): unknown"
LOST = "The container could not be located when the pod was terminated"
DOWN = "Pod was terminated in response to imminent node shutdown."
S = Stage
DONE = ended(0)


class Row(NamedTuple):
    """``again``: in how many seconds to look again. ``code`` may be followed by ``system`` or ``for good``."""

    what: str
    pod: Object
    stage: Stage
    code: str = ""
    again: float | None = None


PENDING = [
    Row("nobody has looked at it", pod("Pending"), S.QUEUED),
    Row("no node has room", pod("Pending", conditions=unplaced("Unschedulable", ROOMLESS)), S.WAITING),
    Row("it is gated", pod("Pending", conditions=unplaced("SchedulingGated", "Scheduling is gated")), S.QUEUED),
    Row("it has a node", pod("Pending", conditions=[condition("PodScheduled", True)]), S.INITIALIZING),
    Row("its image is pulled", pod("Pending", waiting("ContainerCreating"), conditions=placed()), S.INITIALIZING),
    Row(
        "an init container runs",
        pod("Pending", waiting("PodInitializing"), init={"prepare": running()}, conditions=placed()),
        S.INITIALIZING,
    ),
    Row(
        "a pull failed",
        pod("Pending", waiting("ErrImagePull", NOT_THERE), conditions=placed()),
        S.INITIALIZING,
        "",
        150,
    ),
    Row(
        "pulls are backed off, within grace",
        pod("Pending", waiting("ImagePullBackOff", BACK_OFF), conditions=placed(179)),
        S.INITIALIZING,
        "",
        1,
    ),
    Row(
        "pulls are backed off, for longer",
        pod("Pending", waiting("ImagePullBackOff", BACK_OFF), conditions=placed(180)),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
    ),
    Row(
        "the last pull has just failed, for longer",
        pod("Pending", waiting("ErrImagePull", NOT_THERE), conditions=placed(300)),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
    ),
    Row(
        "the registry has had enough of us",
        pod("Pending", waiting("ImagePullBackOff", LIMITED), conditions=placed(300)),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff system",
    ),
    Row(
        "the registry is not there",
        pod("Pending", waiting("RegistryUnavailable", "connection refused"), conditions=placed(300)),
        S.FAILED,
        "ContainersNotReady|RegistryUnavailable system",
    ),
    Row(
        "the image is never pulled",
        pod("Pending", waiting("ErrImageNeverPull", "not present with pull policy of Never"), conditions=placed(300)),
        S.FAILED,
        "ContainersNotReady|ErrImageNeverPull",
    ),
    Row(
        "the image has no name",
        pod("Pending", waiting("InvalidImageName", 'couldn\'t parse image reference "A B"'), conditions=placed(1)),
        S.FAILED,
        "ContainersNotReady|InvalidImageName for good",
    ),
    Row(
        "its Secret does not exist",
        pod("Pending", waiting("CreateContainerConfigError", NO_SECRET), conditions=placed(1)),
        S.FAILED,
        "ContainersNotReady|CreateContainerConfigError for good",
    ),
    Row(
        "its ConfigMap has no such key",
        pod(
            "Pending", waiting("CreateContainerConfigError", "couldn't find key a in ConfigMap b"), conditions=placed(1)
        ),
        S.FAILED,
        "ContainersNotReady|CreateContainerConfigError for good",
    ),
    Row(
        "its Secret is late",
        pod("Pending", waiting("CreateContainerConfigError", LATE_SECRET), conditions=placed(30)),
        S.INITIALIZING,
        "",
        150,
    ),
    Row(
        "its Secret is too late",
        pod("Pending", waiting("CreateContainerConfigError", LATE_SECRET), conditions=placed(180)),
        S.FAILED,
        "ContainersNotReady|CreateContainerConfigError for good",
    ),
    Row(
        "its container cannot be made just now",
        pod("Pending", waiting("CreateContainerError", "context deadline exceeded"), conditions=placed(60)),
        S.INITIALIZING,
        "",
        120,
    ),
    Row(
        "its container cannot be made",
        pod("Pending", waiting("CreateContainerError", "no command specified"), conditions=placed(200)),
        S.FAILED,
        "ContainersNotReady|CreateContainerError for good",
    ),
    Row(
        "a reason that nobody knows, within grace",
        pod("Pending", waiting("RunContainerError", "no space left on device"), conditions=placed(10)),
        S.INITIALIZING,
        "",
        170,
    ),
    Row(
        "a reason that nobody knows",
        pod("Pending", waiting("RunContainerError", "no space left on device"), conditions=placed(500)),
        S.FAILED,
        "ContainersNotReady|RunContainerError system",
    ),
    Row(
        "an init container's image cannot be pulled",
        pod(
            "Pending",
            waiting("PodInitializing"),
            init={"prepare": waiting("ImagePullBackOff", BACK_OFF)},
            conditions=placed(300),
        ),
        S.FAILED,
        "ContainersNotReady|ImagePullBackOff",
    ),
    Row(
        "the second init container's image: its time begins when the first has ended",
        pod(
            "Pending",
            waiting("PodInitializing"),
            init={"first": ended(0, at=100), "second": waiting("ImagePullBackOff", BACK_OFF)},
            conditions=placed(1000),
            created=1001,
        ),
        S.INITIALIZING,
        "",
        80,
    ),
    Row(
        "a sidecar ends again and again, and keeps all others waiting",
        pod(
            "Pending",
            waiting("PodInitializing"),
            init={"mesh": waiting("CrashLoopBackOff", "back-off 40s restarting failed container", last=ended(2))},
            sidecars=["mesh"],
            conditions=placed(500),
        ),
        S.FAILED,
        "ContainersNotReady|CrashLoopBackOff",
    ),
    Row(
        "our own sidecar does",
        pod(
            "Pending",
            waiting("PodInitializing"),
            init={UPLOAD: waiting("CrashLoopBackOff", "back-off 40s", last=ended(1, message="no such bucket"))},
            sidecars=[UPLOAD],
            conditions=placed(500),
        ),
        S.FAILED,
        "ContainersNotReady|CrashLoopBackOff system",
    ),
    Row(
        "another container's image cannot be pulled, and this one is being made",
        pod(
            "Pending",
            waiting("ContainerCreating"),
            beside={"proxy": waiting("ImagePullBackOff", BACK_OFF)},
            conditions=placed(300),
        ),
        S.INITIALIZING,
    ),
    Row(
        "another container's image cannot be pulled, and this one runs",
        pod(
            "Pending",
            running(),
            beside={"proxy": waiting("ImagePullBackOff", BACK_OFF)},
            conditions=placed(300),
        ),
        S.RUNNING,
    ),
    Row(
        "its volume is not there yet, or its image is large",
        pod("Pending", waiting("ContainerCreating"), conditions=placed(1199)),
        S.INITIALIZING,
        "",
        1,
    ),
    Row(
        "its volume will never be there",
        pod("Pending", waiting("ContainerCreating"), conditions=placed(1200)),
        S.FAILED,
        "ContainersNotReady|ContainerCreating system",
    ),
    Row(
        "its kubelet does nothing",
        pod("Pending", conditions=placed(1300)),
        S.FAILED,
        "ContainersNotReady|ContainerCreating system",
    ),
    Row(
        "an init container works for long",
        pod("Pending", waiting("PodInitializing"), init={"prepare": running(1700)}, conditions=placed(1750)),
        S.INITIALIZING,
    ),
    Row(
        "it waits for too long",
        pod("Pending", conditions=unplaced("Unschedulable", ROOMLESS), created=1800),
        S.FAILED,
        "PodPendingTimeout system",
    ),
]

RUNNING = [
    Row("it runs", pod("Running", running()), S.RUNNING),
    Row("another container has failed", pod("Running", running(), beside={"proxy": ended(1)}), S.RUNNING),
    Row("it has ended well, and another runs", pod("Running", DONE, beside={"proxy": running()}), S.SUCCEEDED),
    Row(
        "it has failed, and another runs",
        pod("Running", ended(3), beside={"proxy": running()}),
        S.FAILED,
        "ContainerFailed",
    ),
    Row("a native sidecar runs on", pod("Running", DONE, init={"mesh": running()}, sidecars=["mesh"]), S.SUCCEEDED),
    Row(
        "it ran out of memory, and another runs",
        pod("Running", ended(137, "OOMKilled"), beside={"proxy": running()}),
        S.FAILED,
        "OOMKilled",
    ),
    Row(
        "the cluster is about to take its node",
        pod("Running", running(), conditions=[disrupted("DeletionByTaintManager", "NoExecute taint")]),
        S.RUNNING,
    ),
    Row(
        "the cluster took its node, and the node is lost",
        pod(
            "Running", running(), deleted=(-10, 30), conditions=[disrupted("DeletionByTaintManager", "NoExecute taint")]
        ),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "a container beside it ran out of memory, and it failed of that",
        pod("Running", ended(1), beside={"proxy": ended(137, "OOMKilled")}),
        S.FAILED,
        "ContainerFailed",
    ),
    Row("its kubelet has not told of it", pod("Running", beside={"proxy": running()}), S.RUNNING),
    Row("its node is silent", pod("Unknown", None), S.RUNNING),
    Row(
        "there is no primary container",
        pod("Running", names=["main"], beside={"proxy": running()}),
        S.FAILED,
        "PrimaryContainerNotFound for good",
    ),
    Row("somebody deleted it, and it ends", pod("Running", running(), deleted=(25, 30)), S.RUNNING, "", 35),
    Row("somebody deleted it before it ran", pod("Pending", deleted=(0, 0)), S.INITIALIZING, "", 10),
    Row(
        "somebody deleted it, and its node is lost",
        pod("Running", running(), deleted=(-10, 30), conditions=[condition("Ready", False, "NodeNotReady")]),
        S.FAILED,
        "ResourceDeletedExternally system",
    ),
    Row(
        "somebody deleted it, and so it ended",
        pod("Running", ended(1, at=5), deleted=(20, 30), beside={"proxy": running()}),
        S.FAILED,
        "ResourceDeletedExternally system",
    ),
    Row(
        "it failed, and then somebody deleted it",
        pod("Running", ended(1, at=15), deleted=(20, 30), beside={"proxy": running()}),
        S.FAILED,
        "ContainerFailed",
    ),
]

SUCCEEDED = [
    Row("it ended well", pod("Succeeded", DONE), S.SUCCEEDED),
    Row("all ended well", pod("Succeeded", DONE, init={"prepare": DONE}, beside={"proxy": DONE}), S.SUCCEEDED),
    Row("a child of it ran out of memory", pod("Succeeded", ended(0, "OOMKilled")), S.FAILED, "OOMKilled"),
    Row(
        "a child of an init container did",
        pod("Succeeded", DONE, init={"prepare": ended(0, "OOMKilled")}),
        S.FAILED,
        "OOMKilled",
    ),
    Row(
        "a child of a sidecar did",
        pod("Succeeded", DONE, init={"mesh": ended(137, "OOMKilled")}, sidecars=["mesh"]),
        S.SUCCEEDED,
    ),
    Row("nothing is told of its containers", pod("Succeeded"), S.SUCCEEDED),
]

FAILED = [
    Row("it ended with 1", pod("Failed", ended(1, message="Traceback: no")), S.FAILED, "ContainerFailed"),
    Row("it ended with 127", pod("Failed", ended(127)), S.FAILED, "ContainerFailed"),
    Row("it crashed", pod("Failed", ended(139)), S.FAILED, "Interrupted system"),
    Row(
        "its program is not there",
        pod("Failed", ended(128, "StartError", NO_PROGRAM)),
        S.FAILED,
        "ContainerCannotStart",
    ),
    Row("its limit is too low to start", pod("Failed", ended(128, "StartError", TOO_SMALL)), S.FAILED, "OOMKilled"),
    Row("it ran out of memory", pod("Failed", ended(137, "OOMKilled")), S.FAILED, "OOMKilled"),
    Row("it was killed", pod("Failed", ended(137)), S.FAILED, "Interrupted system"),
    Row("it was killed, as some runtimes say it", pod("Failed", ended(247)), S.FAILED, "Interrupted system"),
    Row("it was told to end", pod("Failed", ended(143)), S.FAILED, "Interrupted system"),
    Row(
        "its container is not to be found",
        pod("Failed", ended(137, "ContainerStatusUnknown", LOST, began=None, at=None)),
        S.FAILED,
        "Interrupted system",
    ),
    Row("it ended well, and another did not", pod("Failed", DONE, beside={"proxy": ended(1)}), S.SUCCEEDED),
    Row("nothing is told at all", pod("Failed"), S.FAILED, "Interrupted system"),
    Row(
        "an init container failed",
        pod("Failed", waiting("PodInitializing"), init={"prepare": ended(2, message="no such file")}),
        S.FAILED,
        "ContainerFailed",
    ),
    Row(
        "an init container ran out of memory",
        pod("Failed", waiting("PodInitializing"), init={"prepare": ended(137, "OOMKilled")}),
        S.FAILED,
        "OOMKilled",
    ),
    Row(
        "its node was low on memory",
        pod(
            "Failed",
            ended(143),
            reason="Evicted",
            message=LOW,
            conditions=[disrupted("TerminationByKubelet", LOW)],
        ),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "it filled its disk",
        pod("Failed", ended(143), reason="Evicted", message=FULL),
        S.FAILED,
        "EphemeralStorageExceeded",
    ),
    Row(
        "it filled a volume",
        pod("Failed", ended(143), reason="Evicted", message=EMPTY_DIR),
        S.FAILED,
        "EphemeralStorageExceeded",
    ),
    Row(
        "all of it filled the disk",
        pod("Failed", ended(143), reason="Evicted", message=POD_FULL),
        S.FAILED,
        "EphemeralStorageExceeded",
    ),
    Row(
        "its node was shut down",
        pod(
            "Failed",
            ended(143),
            reason="Terminated",
            message=DOWN,
            conditions=[disrupted("TerminationByKubelet", DOWN)],
        ),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node was shut down, and it took it well",
        pod("Failed", DONE, reason="Terminated", message=DOWN),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node was shutting down already",
        pod("Failed", reason="NodeShutdown", message="Pod was rejected as the node is shutting down."),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node was shutting down, as older clusters say it",
        pod("Failed", reason="Shutdown", message="Node is in progress of shutting down, not admitting any new pods"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node was lost",
        pod("Failed", reason="NodeLost", message="Node n1 which was running pod r1 is unresponsive"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node does not fit any more",
        pod("Failed", reason="NodeAffinity", message="Pod was rejected: Predicate NodeAffinity failed"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node has no room after all",
        pod("Failed", reason="OutOfcpu", message="Pod was rejected: Node didn't have enough resource: cpu"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node has no such device after all",
        pod("Failed", reason="UnexpectedAdmissionError", message="Allocate failed due to no healthy devices present"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "a critical pod took its place",
        pod("Failed", ended(137), reason="Preempting", message="Preempted in order to admit critical pod"),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "another pod took its place",
        pod(
            "Failed",
            ended(1, at=1),
            deleted=(28, 30),
            conditions=[
                disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")
            ],
        ),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node was drained",
        pod("Failed", ended(143), conditions=[disrupted("EvictionByEvictionAPI", "Eviction API: evicting")]),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node got a taint",
        pod(
            "Failed",
            ended(143),
            conditions=[disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")],
        ),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "its node is gone for good",
        pod("Failed", running(), conditions=[disrupted("DeletionByPodGC", "PodGC: node no longer exists")]),
        S.FAILED,
        "Interrupted system",
    ),
    Row(
        "it ran out of memory while it was evicted",
        pod("Failed", ended(137, "OOMKilled"), reason="Evicted", message=LOW),
        S.FAILED,
        "OOMKilled",
    ),
    Row(
        "its own deadline came",
        pod(
            "Failed",
            ended(143),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        S.FAILED,
        "DeadlineExceeded",
    ),
]

RAW = [
    Row(
        "its inputs are fetched", pod("Pending", waiting("PodInitializing"), init={DOWNLOAD: running()}), S.INITIALIZING
    ),
    Row(
        "its inputs are not what they should be",
        pod(
            "Failed",
            waiting("PodInitializing"),
            init={
                DOWNLOAD: ended(65, message="InvalidInput: the input a/b cannot be the name of a file"),
                UPLOAD: None,
            },
            sidecars=[UPLOAD],
        ),
        S.FAILED,
        "InvalidInput for good",
    ),
    Row(
        "its inputs cannot be fetched",
        pod("Failed", waiting("PodInitializing"), init={DOWNLOAD: ended(1, message="OSError: no route to host")}),
        S.FAILED,
        "DownloadFailed system",
    ),
    Row("it runs", pod("Running", running(), init={UPLOAD: running()}, sidecars=[UPLOAD]), S.RUNNING),
    Row("its outputs are collected", pod("Running", DONE, init={UPLOAD: running()}, sidecars=[UPLOAD]), S.RUNNING),
    Row("its outputs are there", pod("Succeeded", DONE, init={UPLOAD: DONE}, sidecars=[UPLOAD]), S.SUCCEEDED),
    Row(
        "it failed, and what it said is collected",
        pod("Running", ended(3), init={UPLOAD: running()}, sidecars=[UPLOAD]),
        S.RUNNING,
    ),
    Row(
        "it failed, and so there are no outputs",
        pod("Failed", ended(3), init={UPLOAD: ended(65, message="InvalidOutput: x is missing")}, sidecars=[UPLOAD]),
        S.FAILED,
        "ContainerFailed",
    ),
    Row(
        "it did not write what it declares",
        pod("Succeeded", DONE, init={UPLOAD: ended(65, message="InvalidOutput: x is missing")}, sidecars=[UPLOAD]),
        S.FAILED,
        "InvalidOutput",
    ),
    Row(
        "its outputs cannot be uploaded",
        pod("Succeeded", DONE, init={UPLOAD: ended(1, message="PermissionError")}, sidecars=[UPLOAD]),
        S.FAILED,
        "UploadFailed system",
    ),
    Row(
        "its outputs took too long",
        pod("Succeeded", DONE, init={UPLOAD: ended(137)}, sidecars=[UPLOAD]),
        S.FAILED,
        "UploadFailed system",
    ),
    Row(
        "its node went before its outputs were collected",
        pod("Failed", DONE, init={UPLOAD: running()}, sidecars=[UPLOAD]),
        S.FAILED,
        "Interrupted system",
    ),
]
