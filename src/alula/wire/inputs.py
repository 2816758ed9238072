"""A run's inputs."""

import base64
import hashlib

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2


def content_hash(body: bytes, template: tasks_pb2.TaskTemplate) -> str:
    """What a cache goes by: the inputs without the variables that the task says to ignore, whatever their order."""
    ignored = set(template.metadata.cache_ignore_input_vars)
    inputs = common_pb2.Inputs.FromString(body)
    kept = sorted((literal for literal in inputs.literals if literal.name not in ignored), key=lambda lit: lit.name)
    canonical = common_pb2.Inputs(literals=kept)
    for key, value in sorted((pair.key, pair.value) for pair in inputs.context):
        canonical.context.add(key=key, value=value)
    return base64.b64encode(hashlib.sha256(canonical.SerializeToString(deterministic=True)).digest()).decode()
