"""What AWS Batch is asked for a task, and what it says of a job. Pure; `plugins/batch.py` speaks to it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any
from urllib.parse import quote

from alula.core.quantity import parse
from alula.core.taskaction import Cause, Link, Stage, State
from alula.manager.jobspec.names import label
from alula.manager.plugins.base import BadTask, Task
from alula.manager.podspec.resources import completed, resources
from alula.manager.settings import Batch

_NAME = 128  # characters of a job's name
_GPU = "nvidia.com/gpu"
_PLATFORMS = ("EC2", "FARGATE")
_LOGS = "/aws/batch/job"  # the log group of all jobs
_KNOWN = frozenset(
    {
        "platformCapabilities",
        "queue",
        "parameters",
        "schedulingPriority",
        "shareIdentifier",
        "propagateTags",
        "tags",
        "secrets",
        "jobRoleArn",
        "executionRoleArn",
        "assignPublicIp",
    }
)
_STAGES = {
    "SUBMITTED": Stage.QUEUED,
    "PENDING": Stage.QUEUED,
    "RUNNABLE": Stage.WAITING,
    "STARTING": Stage.INITIALIZING,
    "RUNNING": Stage.RUNNING,
    "SUCCEEDED": Stage.SUCCEEDED,
    "FAILED": Stage.FAILED,
}
_LOST_HOST = "Host EC2"  # "Host EC2 (instance i-...) terminated."


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that is to be: its ``definition``, which jobs of one kind share, and what is its own (``submission``)."""

    name: str
    queue: str
    definition: Mapping[str, Any]
    submission: Mapping[str, Any]


def asked(task: Task, settings: Batch) -> Asked:
    """The job of an attempt.

    Raises:
        BadTask: there cannot be such a job.
    """
    custom = task.custom()
    if unknown := sorted(custom.keys() - _KNOWN):
        raise BadTask(f"a task of AWS Batch knows no {unknown[0]!r}; it knows {', '.join(sorted(_KNOWN))}")
    if task.template.WhichOneof("target") != "container" or not task.template.container.image:
        raise BadTask("a task of AWS Batch needs a container with an image")
    if task.template.security_context.secrets:
        raise BadTask("AWS Batch has no way to alula's secrets: name those of AWS instead, secrets = {NAME: ARN}")
    queue = str(custom.get("queue") or settings.queue)
    if not queue:
        raise BadTask(
            "the task names no job queue of AWS Batch (queue), and neither do the settings (manager.batch.queue)"
        )
    platform = str(custom.get("platformCapabilities") or "EC2")
    if platform not in _PLATFORMS:
        raise BadTask(f"platformCapabilities: {platform!r} is none of {', '.join(_PLATFORMS)}")
    container = task.template.container
    env = {pair.key: pair.value for pair in container.env} | dict(task.request.env)
    own = {
        "jobName": job_name(task),
        "jobQueue": queue,
        "containerOverrides": {
            "command": [*container.command, *container.args],
            "environment": [{"name": name, "value": value} for name, value in sorted(env.items())],
            "resourceRequirements": _amounts(task, whole=platform == "EC2"),
        },
        "retryStrategy": {"attempts": 1},  # who tries again is not Batch's to decide
        "tags": {**_texts(custom, "tags"), "flyte-run": task.request.run, "flyte-action": task.request.action},
        "propagateTags": bool(custom.get("propagateTags", True)),
        "parameters": _texts(custom, "parameters"),
        "shareIdentifier": custom.get("shareIdentifier"),
        "schedulingPriorityOverride": _whole(custom.get("schedulingPriority")),
    }
    kept = {key: value for key, value in own.items() if value not in (None, "", {})}
    return Asked(job_name(task), queue, _definition(task, settings, custom, platform), kept)


def job_name(task: Task) -> str:
    """The name of an attempt's job, by which it is found again."""
    return label(task.request.name, _NAME)


def _definition(task: Task, settings: Batch, custom: Mapping[str, Any], platform: str) -> dict[str, Any]:
    """What jobs of one image, with the same rights, have in common. Its name says what is in it."""
    container: dict[str, Any] = {
        "image": task.template.container.image,
        "jobRoleArn": custom.get("jobRoleArn") or settings.role,
        "executionRoleArn": custom.get("executionRoleArn") or settings.execution_role,
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in sorted(_texts(custom, "secrets").items())],
        "resourceRequirements": _usual(platform),
    }
    if platform == "FARGATE" and custom.get("assignPublicIp"):
        container["networkConfiguration"] = {"assignPublicIp": "ENABLED"}
    made = {
        "type": "container",
        "platformCapabilities": [platform],
        "containerProperties": {key: value for key, value in container.items() if value},
    }
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:20]
    return {"jobDefinitionName": f"alula-{digest}", **made}


def _usual(platform: str) -> list[dict[str, str]]:
    """Each job says its own; a definition has to have some."""
    amounts = {"VCPU": "1", "MEMORY": "2048"} if platform == "EC2" else {"VCPU": "0.5", "MEMORY": "1024"}
    return [{"type": name, "value": value} for name, value in amounts.items()]


def _amounts(task: Task, *, whole: bool) -> list[dict[str, str]]:
    said = completed(resources(task.template.container.resources, _GPU), task.settings.resources)["requests"]
    cpus = parse(said["cpu"])
    found = {"VCPU": str(max(1, ceil(cpus))) if whole else f"{float(cpus):g}"}
    found["MEMORY"] = str(ceil(parse(said["memory"]) / 2**20))
    if _GPU in said:
        found["GPU"] = str(ceil(parse(said[_GPU])))
    return [{"type": name, "value": value} for name, value in found.items()]


def _texts(custom: Mapping[str, Any], key: str) -> dict[str, str]:
    found = custom.get(key) or {}
    if not isinstance(found, dict):
        raise BadTask(f"{key} of a task of AWS Batch is a map of texts")
    return {str(name): str(value) for name, value in found.items()}


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def state(job: Mapping[str, Any], region: str) -> State:
    """What Batch says of a job (`JobDetail`)."""
    stage = _STAGES.get(job["status"], Stage.RUNNING)
    container: Mapping[str, Any] = job.get("container") or {}
    reason = "; ".join(text for text in (job.get("statusReason"), container.get("reason")) if text)
    return State(
        stage=stage,
        reason=reason,
        cause=_cause(job, container, reason) if stage is Stage.FAILED else None,
        started_at=_time(job.get("startedAt")),
        ended_at=_time(job.get("stoppedAt")),
        exit_code=container.get("exitCode"),
        links=_links(job, container, region),
    )


def _cause(job: Mapping[str, Any], container: Mapping[str, Any], reason: str) -> Cause:
    if "OutOfMemory" in reason:
        return Cause("OOMKilled", reason)
    if _LOST_HOST in reason:
        return Cause("Interrupted", reason, system=True)
    if job.get("isTerminated") or job.get("isCancelled"):
        return Cause("RemoteJobAborted", reason or "the job was terminated, and not by alula", recoverable=False)
    code = container.get("exitCode")
    if code is None:
        return Cause("TaskFailedWithError", reason or "AWS Batch gave no reason")
    return Cause("ContainerFailed", f"the container exited with {code}: {reason}")


def _links(job: Mapping[str, Any], container: Mapping[str, Any], region: str) -> tuple[Link, ...]:
    console = f"https://{region}.console.aws.amazon.com"
    links = [Link("AWS Batch", f"{console}/batch/home?region={region}#jobs/detail/{job['jobId']}")]
    if stream := container.get("logStreamName"):
        group, name = (quote(quote(text, safe=""), safe="").replace("%", "$") for text in (_LOGS, stream))
        place = f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}/log-events/{name}"
        links.append(Link("CloudWatch Logs", place))
    return tuple(links)


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
