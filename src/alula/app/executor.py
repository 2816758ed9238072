"""The executor of a server, from its settings."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alula.app.stores import Stores, reader
from alula.base.settings import Settings
from alula.blobs.store import Blobs
from alula.control.images import RECIPES
from alula.core.image import ours
from alula.executors.base import Executor
from alula.executors.container.executor import ContainerExecutor, label
from alula.executors.process.environment import Environment
from alula.executors.process.environments.builder import Permit
from alula.executors.process.environments.finder import Environments
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.life import Habits
from alula.executors.process.reuse.executor import ReusingExecutor

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


@asynccontextmanager
async def executing(settings: Settings, stores: Stores, images: Environments) -> AsyncIterator[Executor]:
    """Attempts as processes of this machine; in containers, where they ask for one and an engine answers.

    Raises:
        Unavailable: another server uses this home, or the isolation that was chosen is not to be had.
    """
    told = settings.executor
    processes = ProcessExecutor(
        settings.private / "executor",
        mode=told.mode,
        fetch=reader(stores.blobs),
        hidden=settings.home if told.isolation == "namespaces" else None,
        environments=images,
        habits=Habits(told.log_limit * _MIB, outlive=not settings.shared),
    )
    shared = ReusingExecutor(
        processes,
        settings.private / "executor",
        log_cap=told.log_limit * _MIB,
        reuse=told.isolation == "process",
    )
    contained = ContainerExecutor(shared, told.containers, label(settings.private), ours, os.environ)
    async with processes, shared, contained:
        yield contained


def environments(settings: Settings, blobs: Blobs) -> Environments:
    """The environments of this machine; what they are built from is in the object store, for all replicas."""
    told, own = settings.executor, Environment.own()
    folder = str((settings.private / "environments").absolute())
    permit = Permit(folder, own.base.python, own.sdk, apt=told.build_apt, commands=told.build_commands)
    return Environments(own, permit, told.environments_size * _GIB, blobs.join(RECIPES), reader(blobs))
