"""A TaskAction's metadata and spec, both ways."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, GROUP, KIND, MANAGED, OWNER, RUN_KEY, SHARD, SHARDS, VERSION, Request

_LABEL = 63  # characters of a label's value, and of the names in a spec (upstream's schema)
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_KEY = re.compile(
    r"(?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
    r"|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
# Tasks that are a container or a pod, wherever they run; of any other type a plugin or a connector knows what it is.
# "actor" is a task with a `ReusePolicy`.
POD_TYPES = ("actor", "container", "python", "python-task", "raw-container", "sidecar")
_CUT = {"group": 256, "cacheKey": 256, "shortName": _LABEL}  # characters: what is only shown may lose its end

# Fields of a `Request` by their names in the resource; upstream's are called as upstream calls them.
_NAMES: Mapping[str, str] = {
    "project": "project",
    "domain": "domain",
    "run": "runName",
    "action": "actionName",
    "parent": "parentActionName",
    "task_type": "taskType",
    "short_name": "shortName",
    "group": "group",
    "cache_key": "cacheKey",
    "input_uri": "inputUri",
    "run_base": "runOutputBase",
    "env": "envVars",
    "interruptible": "interruptible",
    "attempt": "attempt",
    "max_attempts": "maxAttempts",
    "last": "lastTry",
    "queue": "queue",
    "template_uri": "taskTemplateUri",
    "template_digest": "taskTemplateDigest",
    "output_uri": "outputUri",
    "raw_uri": "rawOutputUri",
    "secret": "secretName",
    "secret_env": "secretEnv",
    "secret_files": "secretFiles",
    "secret_refs": "secretRefs",
    "service_account": "serviceAccount",
    "grace": "graceSeconds",
    "labels": "objectLabels",
    "annotations": "objectAnnotations",
}
_DEFAULTS = {one.name: one.default for one in fields(Request)}


def shard(project: str, domain: str, run: str) -> str:
    """The shard of a run's TaskActions: the same for ever."""
    digest = hashlib.sha256(f"{project}/{domain}/{run}".encode()).digest()
    return str(int.from_bytes(digest[:4]) % SHARDS)


def label(text: str) -> str:
    """A text as the value of a label: what may not be in one is replaced."""
    return _UNFIT.sub("-", text)[:_LABEL].strip("-_.")


def fitting(texts: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's labels or annotations whose keys a cluster takes."""
    return {key: value for key, value in texts.items() if _KEY.fullmatch(key)}


def labels(request: Request) -> dict[str, str]:
    """What a TaskAction and every object of its attempt are found by; upstream's names for it."""
    return {
        **{key: label(value) for key, value in fitting(request.labels).items()},
        "flyte.org/project": label(request.project),
        "flyte.org/domain": label(request.domain),
        "flyte.org/run": label(request.run),
        "flyte.org/action": label(request.action),
        "flyte.org/action-type": "task",
        "flyte.org/is-root": str(not request.parent).lower(),
        ATTEMPT: attempt_label(request.name),
        MANAGED: "true",
    }


def server_labels(request: Request) -> dict[str, str]:
    """What the server that asks for an attempt finds its TaskAction and its Secret by."""
    key = {} if request.run_key is None else {RUN_KEY: str(request.run_key)}
    return key | ({OWNER: request.owner} if request.owner else {})


def manifest(request: Request, namespace: str) -> dict[str, Any]:
    """The resource to create."""
    spec: dict[str, Any] = {"actionType": "task"}
    for name, json_name in _NAMES.items():
        value = getattr(request, name)
        if value == _DEFAULTS[name] or value in ("", (), {}):
            continue
        if json_name in _CUT:
            value = value[: _CUT[json_name]]
        spec[json_name] = dict(value) if isinstance(value, Mapping) else list(value) if name == "secret_env" else value
    if request.template:
        spec["taskTemplate"] = base64.b64encode(request.template).decode()
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": request.name,
            "namespace": namespace,
            "labels": {
                **labels(request),
                **server_labels(request),
                SHARD: shard(request.project, request.domain, request.run),
            },
            "annotations": fitting(request.annotations),
        },
        "spec": spec,
    }


def read_request(found: Mapping[str, Any]) -> Request:
    """What a resource asks for.

    Raises:
        ValueError: it is none of ours: something that an attempt needs is not in it.
    """
    spec, meta = found["spec"], found["metadata"]
    known = {name: spec[json_name] for name, json_name in _NAMES.items() if json_name in spec}
    known["secret_env"] = tuple(known.get("secret_env", ()))
    marks = meta.get("labels") or {}
    key = marks.get(RUN_KEY)
    try:
        template = base64.b64decode(spec.get("taskTemplate", ""), validate=True)
        return Request(
            name=meta["name"],
            template=template,
            owner=marks.get(OWNER, ""),
            run_key=None if key is None else int(key),
            **known,
        )
    except TypeError as error:
        raise ValueError(f"the TaskAction is not complete: {error}") from error
