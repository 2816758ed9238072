"""From a task's reuse policy to which attempts may share a process (sdk-contract.md 4.7)."""

import hashlib
import json

from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from alula.core.launch import Launch, Reuse

# Variables that are an attempt's own. All others of its environment are its process's, and whoever shares it has them.
_OWN = frozenset(
    {
        "FLYTE_INTERNAL_EXECUTION_ID", "FLYTE_ATTEMPT_NUMBER", "ACTION_NAME", "RUN_NAME", "_U_RUN_BASE", "_F_PN",
        *(f"FLYTE_INTERNAL_{part}" for part in ("PROJECT", "DOMAIN", "NAME", "VERSION")),
        *(f"FLYTE_INTERNAL_TASK_{part}" for part in ("PROJECT", "DOMAIN", "NAME", "VERSION")),
    }
)  # fmt: skip
_SHARED = ("--tgz", "--dest")  # arguments that say what code the process has
_MOST = 1000  # replicas, and attempts at once in each; what is above means this


def reuse(template: tasks_pb2.TaskTemplate, launch: Launch, run: str, parent: str) -> Reuse | None:
    """Which process a launch may share, or ``None`` if it is to have its own.

    The key covers all that those in one process share: project and domain, image, environment and secrets, code
    bundle and the policy itself; of the run only for a policy with that scope. ``parent`` is the launch's
    parent action: it is told of so that parents and children of one key cannot wait for each other for ever.
    """
    policy = _policy(template)
    if policy is None:
        return None
    shared = {name: value for name, value in launch.env.items() if name not in _OWN}
    words = [launch.command[i : i + 2] for i, word in enumerate(launch.command) if word in _SHARED]
    parts = [
        _name(template), launch.image, sorted(shared.items()), words,
        [(file.path, file.variable, file.body.hex()) for file in launch.files],
        policy.SerializeToString(deterministic=True).hex(),
        run if policy.scope == tasks_pb2.ReusePolicy.RUN else "",
    ]  # fmt: skip
    most = _within(policy.max_replicas)
    return Reuse(
        key=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24],
        least=min(policy.min_replicas, most),
        most=most,
        concurrency=_within(policy.concurrency),
        idle=policy.idle_ttl.ToTimedelta().total_seconds() if policy.HasField("idle_ttl") else 30.0,
        scaledown=policy.scaledown_ttl.ToTimedelta().total_seconds() if policy.HasField("scaledown_ttl") else 30.0,
        own=_OWN,
        caller=f"{run}/{parent}" if parent else "",
        called=f"{run}/{launch.env.get('ACTION_NAME', '')}",
    )


def _policy(template: tasks_pb2.TaskTemplate) -> tasks_pb2.ReusePolicy | None:
    """The policy, which older SDKs say in the template's free part only."""
    if template.HasField("reuse_policy"):
        return template.reuse_policy
    if template.type != "actor" or not template.HasField("custom"):
        return None
    spec = MessageToDict(template.custom).get("spec", {})
    policy = tasks_pb2.ReusePolicy(
        min_replicas=int(spec.get("min_replica_count") or 0),
        max_replicas=int(spec.get("replica_count") or 1),
        concurrency=int(spec.get("parallelism") or 1),
    )
    for field, key in ((policy.idle_ttl, "ttl_seconds"), (policy.scaledown_ttl, "scaledown_ttl_seconds")):
        if spec.get(key) is not None:
            field.FromMilliseconds(int(spec[key] * 1000))
    return policy


def _name(template: tasks_pb2.TaskTemplate) -> str:
    """The environment's name: two environments never share a process."""
    custom: Struct = template.custom
    if "name" in custom.fields:
        return custom.fields["name"].string_value
    return template.id.name.partition(".")[0]


def _within(number: int) -> int:
    return min(max(number, 1), _MOST)
