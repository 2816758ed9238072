"""What settings make of a request for a run: they fill in what it leaves open, and never change what it says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.task import run_pb2

from alula.core.run import Creation

_RESOURCES = {
    "cpu": tasks_pb2.Resources.CPU,
    "gpu": tasks_pb2.Resources.GPU,
    "memory": tasks_pb2.Resources.MEMORY,
    "storage": tasks_pb2.Resources.EPHEMERAL_STORAGE,
}


def complete(asked: Creation, settings: Mapping[str, Any]) -> Creation:
    """A request for a run with the settings of its project and domain, given as path to value."""
    spec = run_pb2.RunSpec.FromString(asked.run_spec)
    spec.ClearField("default_settings")  # is the server's to say; a rerun brings that of the first run along
    if settings:
        apply(spec, settings)
    return replace(
        asked,
        run_spec=spec.SerializeToString(deterministic=True),
        labels=dict(spec.labels.values),
        base_dir=spec.run_base_dir.rstrip("/"),
        queue=spec.queue,
        max_concurrency=spec.max_action_concurrency,
    )


def apply(spec: run_pb2.RunSpec, settings: Mapping[str, Any]) -> None:
    """Complete a run's spec. Applied again, it changes nothing."""
    spec.queue = spec.queue or settings.get("run.default_queue", "")
    spec.max_action_concurrency = spec.max_action_concurrency or settings.get("run.max_action_concurrency", 0)
    spec.run_base_dir = spec.run_base_dir or settings.get("run.run_base_dir", "")
    if account := settings.get("security.service_account"):
        identity = spec.security_context.run_as
        identity.k8s_service_account = identity.k8s_service_account or account
    if path := settings.get("storage.raw_data_path"):
        storage = spec.raw_data_storage
        storage.raw_data_prefix = storage.raw_data_prefix or path
    for pairs, path in ((spec.labels.values, "labels"), (spec.annotations.values, "annotations")):
        for name, value in settings.get(path, {}).items():
            if name not in pairs:
                pairs[name] = value
    _variables(spec, settings.get("environment_variables", {}))
    _task_defaults(spec, settings)


def _variables(spec: run_pb2.RunSpec, values: Mapping[str, str]) -> None:
    named = {pair.key for pair in spec.envs.values}
    for name in sorted(values.keys() - named):
        spec.envs.values.add(key=name, value=values[name])


def _task_defaults(spec: run_pb2.RunSpec, settings: Mapping[str, Any]) -> None:
    """What is not the run's but its tasks': how it meets what a task asks for itself is for the executor to say."""
    spec.ClearField("default_settings")
    defaults = spec.default_settings
    defaults.pod_template_name = settings.get("pod_template_name", "")
    resources = defaults.task_resource_defaults
    for bound, entries in (("min", resources.requests), ("max", resources.max)):
        for of, name in _RESOURCES.items():
            if (amount := settings.get(f"task_resource.{bound}.{of}")) is not None:
                entries.add(name=name, value=amount)
    if (accelerator := settings.get("task_resource.default_accelerator")) is not None:
        resources.default_accelerator.CopyFrom(accelerator)
    if not resources.ByteSize():
        defaults.ClearField("task_resource_defaults")
    if not defaults.ByteSize():
        spec.ClearField("default_settings")
