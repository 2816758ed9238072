"""Raw containers: who lays out their inputs and collects what they leave (executor.md 6).

Our own image does it beside the task: as an init container that fetches, and as a sidecar that waits until the task has
ended and then uploads. If the first fails, Kubernetes starts neither the second nor the task.
"""

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from flyteidl2.core import tasks_pb2

from alula.core.taskaction import Request
from alula.manager.plugins.base import Task
from alula.manager.podspec.environment import references, surroundings
from alula.manager.podspec.plain import merged
from alula.manager.podspec.resources import quantity
from alula.manager.podspec.settings import PodSettings
from alula.manager.podspec.target import Draft

DOWNLOAD, UPLOAD = "flyte-copilot-downloader", "flyte-copilot-uploader"  # containers of a pod
GRACE = "flyte.org/grace-seconds"  # an annotation: what to delete a pod with, if that is not its own grace period
_INPUTS, _OUTPUTS = "flyte-inputs", "flyte-outputs"  # volumes
_STORES = ("FLYTE_AWS_", "FLYTE_GCP_", "FLYTE_AZURE_", "FLYTE_STORAGE_", "AWS_", "GOOGLE_", "AZURE_")
_READY = "/tmp/alula-copilot-ready"  # noqa: S108 - in a container of ours alone
_AMOUNTS = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
_D = tasks_pb2.DataLoadingConfig
Container = dict[str, Any]


def added(made: Draft, task: Task) -> Draft:
    """A raw container's pod with those who serve it; any other as it is.

    What else runs in it becomes a sidecar: the upload begins when all containers have ended, and those might not. The
    pod's own grace period is the upload's; who deletes the pod gives the attempt's (`GRACE`).
    """
    config = _config(task.template)
    if not config.enabled:
        return made
    interface, main = task.template.interface, made.main
    beside = [{**one, "restartPolicy": "Always"} for one in made.containers if one is not main]
    init, mounts, volumes = [*made.init_containers, *beside], [], []
    folders = [
        (_INPUTS, config.input_path or "/var/inputs", interface.inputs.variables, _download),
        (_OUTPUTS, config.output_path or "/var/outputs", interface.outputs.variables, _upload),
    ]
    for name, path, variables, container in folders:
        if variables:
            mount = {"name": name, "mountPath": path}
            mounts.append(mount)
            volumes.append({"name": name, "emptyDir": _size(task.template)})
            init.append({**container(task, config, path), "volumeMounts": [mount]})
    main = merged(main, {"volumeMounts": mounts}) if mounts else main
    spec = merged(made.spec, {"volumes": volumes}) if volumes else made.spec
    spec |= {"containers": [main], "initContainers": init}
    if interface.outputs.variables:
        spec["terminationGracePeriodSeconds"] = _patience(task)
    return Draft(spec, made.primary, made.labels, made.annotations)


def notes(task: Task) -> dict[str, str]:
    """Annotations for who deletes the pod of a raw container."""
    if not _config(task.template).enabled or not task.template.interface.outputs.variables:
        return {}
    return {GRACE: str(math.ceil(task.request.grace))}


def _config(template: tasks_pb2.TaskTemplate) -> _D:
    return template.k8s_pod.data_config if template.HasField("k8s_pod") else template.container.data_config


def _patience(task: Task) -> int:
    return math.ceil(max(task.request.grace, task.settings.upload_timeout.total_seconds()))


def _download(task: Task, config: _D, path: str) -> Container:
    options = {
        "--from-remote": task.request.input_uri,
        "--to-output-prefix": task.request.output_uri,
        "--to-local-dir": path,
        "--format": _D.LiteralMapFormat.Name(config.format),
        "--file-input-layout": _D.FileInputLayout.Name(config.file_input_layout),
    }
    return _container(DOWNLOAD, "download", options, task)


def _upload(task: Task, config: _D, path: str) -> Container:
    request = task.request
    options = {
        "--to-raw-output": request.raw_uri or f"{request.output_uri}/raw",
        "--to-output-prefix": request.output_uri,
        "--from-local-dir": path,
        "--interface": b64encode(task.template.interface.SerializeToString(deterministic=True)).decode(),
        "--ready": _READY,
    }
    # The task may not start, and so not end, before the sidecar can be told that it has: a signal that comes too early
    # would be lost, and the pod would stay until its grace period is over.
    waits = ["sh", "-c", f"until [ -e {_READY} ]; do sleep 0.05; done"]
    return {
        **_container(UPLOAD, "upload", options, task),
        "restartPolicy": "Always",
        "lifecycle": {"postStart": {"exec": {"command": waits}}},
    }


def _container(name: str, command: str, options: Mapping[str, str], task: Task) -> Container:
    env = _stores(task.request, task.settings)
    return {
        "name": name,
        "image": task.settings.copilot_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["alula", "copilot", command],
        "args": [word for option in options.items() for word in option],
        **({"env": env} if env else {}),
        "resources": _AMOUNTS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _stores(request: Request, settings: PodSettings) -> list[dict[str, Any]]:
    """How the object store is reached. The task's other variables and secrets are not for our own image."""
    said = [{"name": name, "value": value} for name, value in request.env.items() if name.startswith(_STORES)]
    kept = [one for one in references(request) if one["name"].startswith(_STORES)]
    return list({one["name"]: one for one in (*surroundings(settings), *said, *kept)}.values())


def _size(template: tasks_pb2.TaskTemplate) -> dict[str, str]:
    """A task's storage is how large its inputs and its outputs may be."""
    asked = template.container.resources
    for entry in (*asked.limits, *asked.requests):
        if entry.name == tasks_pb2.Resources.STORAGE and entry.value:
            return {"sizeLimit": quantity(entry.value, "storage")}
    return {}
