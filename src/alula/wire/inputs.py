"""A run's inputs."""

import base64
import hashlib

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2


def cache_key(template: tasks_pb2.TaskTemplate, inputs_hash: str) -> str:
    """Under what a run's result is cached: its inputs, its task's name, interface and version; "" if it is not to be.

    Of child actions the SDK says it (`generate_cache_key_hash`).
    """
    if not template.metadata.discoverable:
        return ""
    interface = hashlib.sha256(template.interface.SerializeToString(deterministic=True)).hexdigest()
    parts = (inputs_hash, template.id.name, interface, template.metadata.discovery_version)
    return base64.b64encode(hashlib.sha256("\0".join(parts).encode()).digest()).decode()


def content_hash(body: bytes, template: tasks_pb2.TaskTemplate) -> str:
    """What a cache goes by: the inputs without the variables that the task says to ignore, whatever their order."""
    ignored = set(template.metadata.cache_ignore_input_vars)
    inputs = common_pb2.Inputs.FromString(body)
    kept = sorted((literal for literal in inputs.literals if literal.name not in ignored), key=lambda lit: lit.name)
    canonical = common_pb2.Inputs(literals=kept)
    for key, value in sorted((pair.key, pair.value) for pair in inputs.context):
        canonical.context.add(key=key, value=value)
    return base64.b64encode(hashlib.sha256(canonical.SerializeToString(deterministic=True)).digest()).decode()
