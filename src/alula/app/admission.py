"""What there is to share out: what the machine has, but for what the settings say otherwise."""

import math
from collections.abc import Mapping

from alula.base.settings import Settings
from alula.core.admission import Queue
from alula.core.launch import MoreMemory
from alula.core.machine import Machine
from alula.core.quantity import parse
from alula.executors.process.machine import machine
from alula.reconciler.admission import Rules


def admission_rules(settings: Settings) -> Rules:
    """The rules of this server's reconciler."""
    told, found = settings.executor, machine(settings.home)
    has = Machine(
        cpu=found.cpu if told.cpus is None else told.cpus,
        memory=_bytes(told.memory) if told.memory else found.memory,
        disk=_bytes(told.disk) if told.disk else found.disk,
        gpus=found.gpus if told.gpus is None else told.gpus,
    )
    more = told.more_memory
    return Rules(has, told.strict, MoreMemory(more.times, more.factor, _bytes(more.cap) if more.cap else 0))


def queues(settings: Settings) -> Mapping[str, Queue]:
    """The queues that have limits."""
    return {name: Queue(one.actions, one.runs) for name, one in settings.queues.items()}


def _bytes(quantity: str) -> int:
    return math.floor(parse(quantity))
