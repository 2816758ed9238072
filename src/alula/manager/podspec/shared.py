"""Shared memory: what a task may put into /dev/shm (executor.md 5.5)."""

from typing import Any

from flyteidl2.core import tasks_pb2

from alula.manager.plugins.base import BadTask
from alula.manager.podspec.plain import merged
from alula.manager.podspec.resources import quantity
from alula.manager.podspec.target import Draft


def add(made: Draft, asked: tasks_pb2.SharedMemory) -> None:
    """Mount memory into the primary container. Without a limit it is that of the container's memory.

    Raises:
        BadTask: its name or its path is missing or taken, or its limit is no quantity.
    """
    name, path, main = asked.mount_name, asked.mount_path, made.main
    if not name or not path:
        raise BadTask("shared memory: it needs a name (mount_name) and a path (mount_path)")
    if any(volume.get("name") == name for volume in made.spec.get("volumes", ())):
        raise BadTask(f"shared memory: the pod has a volume named {name!r} already")
    if any(mount.get("mountPath") == path for mount in main.get("volumeMounts") or ()):
        raise BadTask(f"shared memory: something else is mounted at {path} already")
    memory: dict[str, Any] = {"medium": "Memory"}
    if asked.size_limit:
        memory["sizeLimit"] = quantity(asked.size_limit, "shared memory")
    made.spec = merged(made.spec, {"volumes": [{"name": name, "emptyDir": memory}]})
    main.update(merged(main, {"volumeMounts": [{"name": name, "mountPath": path}]}))
