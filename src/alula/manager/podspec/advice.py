"""What a user, or who runs the cluster, can do about a failure that a pod tells of."""

from dataclasses import replace

from alula.core.taskaction import Cause

_TRIED = "it is tried again by itself"
NOT_READY = "ContainersNotReady|"  # what the codes of pods that do not start begin with

ADVICE = {
    "OOMKilled": "ask for more with flyte.Resources(memory=...), or have it tried with more: ALULA_MORE_MEMORY=times=2",
    "EphemeralStorageExceeded": "ask for more with flyte.Resources(disk=...), or raise the size of the volume",
    "Interrupted": f"{_TRIED}; what must not be moved is no task for nodes that come and go (interruptible=False)",
    "ResourceDeletedExternally": f"{_TRIED}; to end a task, abort its run and leave its pod alone",
    "DeadlineExceeded": "raise activeDeadlineSeconds in the task's PodTemplate, or use the task's timeout instead",
    "PodPendingTimeout": f"{_TRIED}; ask for less, or have nodes added (pods wait for manager.pods.pending_timeout)",
    "ContainerCannotStart": "is there such a program in the image, for this processor, and may it be run?",
    "PrimaryContainerNotFound": "have primary_container_name in the task's PodTemplate name one of its containers",
    "DownloadFailed": f"{_TRIED}; can pods reach the object store, and do they have its keys?",
    "UploadFailed": f"{_TRIED}; can pods reach the object store, and do they have its keys?",
}
WAITS = {
    "ImagePullBackOff": "is there such an image, and may the cluster read it? Its credentials are the imagePullSecrets "
    "of the task's PodTemplate, or manager.pods.image_pull_secrets",
    "RegistryUnavailable": f"{_TRIED}; does the registry answer the nodes of the cluster?",
    "ErrImageNeverPull": "have the image on the nodes, or imagePullPolicy in the task's PodTemplate be IfNotPresent",
    "ImageInspectError": "is the image broken? Push it again under another tag",
    "SignatureValidationFailed": "sign the image as the cluster demands it",
    "InvalidImageName": "correct the name of the image: REGISTRY/NAME:TAG in small letters",
    "CreateContainerConfigError": "make what is named there in the pod's namespace, or have the task not ask for it",
    "CreateContainerError": "correct what is named there: the task's command, its PodTemplate, or its image",
    "CrashLoopBackOff": "see the log of that container: it ends again and again",
    "ContainerCreating": f"{_TRIED}; mostly a volume, a Secret or the network of the node is missing: see the action's "
    "events; how long pods may take is manager.pods.creating_timeout",
}
OTHER_WAITS = f"{_TRIED}; see the action's events, and what `kubectl describe pod` says of it"


def advised(cause: Cause) -> Cause:
    """The cause with what to do about it. What a program itself did wrong needs none: it has said so."""
    if cause.code.startswith(NOT_READY):
        text = WAITS.get(cause.code.removeprefix(NOT_READY), OTHER_WAITS)
    else:
        text = ADVICE.get(cause.code, "")
    return replace(cause, message=f"{cause.message}\nWhat to do: {text}") if text else cause
