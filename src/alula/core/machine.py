"""What a machine has, what of it is free, and what becomes of a task that asks for more than there is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from alula.core.errors import LaunchRefused
from alula.core.launch import Amounts, Resources

_UNITS = {unit: 1024**n for n, unit in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB"))}


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to share out: CPU in cores, memory and disk in bytes, GPUs by the names their driver knows.

    ``inf``: so much that nobody has to wait for it.
    """

    cpu: float = inf
    memory: float = inf
    disk: float = inf
    gpus: tuple[str, ...] = ()


def share(asked: Resources, machine: Machine, *, strict: bool) -> tuple[Amounts, tuple[str, ...]]:
    """What an attempt is charged while it exists, and what is to be said of that.

    Only what was asked for is charged. Who asks for more CPU, memory or disk than the machine has is charged all of
    it, and so waits until nobody else has any; GPUs cannot be stretched like that.

    Raises:
        LaunchRefused: it can never have the GPUs, or, if ``strict``, the rest, that it asks for.
    """
    wants = asked.requests
    if asked.accelerator:
        raise _unavailable(f"the task asks for {asked.accelerator}, and this machine has none")
    if wants.gpu > len(machine.gpus):
        raise _unavailable(f"the task asks for {_gpus(wants.gpu)}, and this machine has {len(machine.gpus) or 'none'}")
    short = [
        f"{_spell(name, amount)}, of {_has(name, machine)} that this machine has"
        for name, amount in _amounts(wants).items()
        if amount > _total(name, machine)
    ]
    if short and strict:
        raise _unavailable(f"the task asks for {' and '.join(short)}")
    notes = tuple(f"asked for {text}: it gets all there is, alone" for text in short)
    return (
        Amounts(
            cpu=min(wants.cpu, machine.cpu),
            memory=int(min(wants.memory, machine.memory)),
            gpu=wants.gpu,
            disk=int(min(wants.disk, machine.disk)),
        ),
        notes,
    )


class Pool:
    """What of a machine is free. It can be given out twice, if its caller insists: then less than nothing is free."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._free = {name: _exact(name, _total(name, machine)) for name in ("cpu", "memory", "disk")}
        self._users = dict.fromkeys(machine.gpus, 0)

    def lacks(self, wants: Amounts) -> tuple[str, ...]:
        """The names of what there is not enough of; none of these: it fits."""
        asked = _amounts(wants).items()
        return tuple(name for name, amount in asked if amount and _exact(name, amount) > self._left(name))

    def take(self, wants: Amounts) -> tuple[str, ...]:
        """Give it out, whether it fits or not; the GPUs that it gets, which are others' too if it does not fit."""
        for name in self._free:
            self._free[name] -= _exact(name, getattr(wants, name))
        devices = tuple(sorted(self._users, key=lambda device: self._users[device])[: wants.gpu])
        self.hold(devices)
        return devices

    def hold(self, devices: tuple[str, ...]) -> None:
        """GPUs are in use; those that the machine does not have (any more) are nobody's concern."""
        for device in devices:
            if device in self._users:
                self._users[device] += 1

    def give(self, amounts: Amounts, devices: tuple[str, ...] = ()) -> None:
        """It is free again."""
        for name in self._free:
            self._free[name] += _exact(name, getattr(amounts, name))
        for device in devices:
            if device in self._users:
                self._users[device] -= 1

    def short_of(self, wants: Amounts) -> list[str]:
        """What it lacks, in words: ``2 GPUs: 0 of 4 are free``."""
        return [
            f"{_spell(name, getattr(wants, name))}: {self._shown(name)} of {_has(name, self._machine)} "
            f"{'is' if name in ('memory', 'disk') else 'are'} free"
            for name in self.lacks(wants)
        ]

    def _left(self, name: str) -> float:
        return sum(not users for users in self._users.values()) if name == "gpu" else self._free[name]

    def _shown(self, name: str) -> str:
        left = max(0, self._left(name))
        return _plain(left / 1000) if name == "cpu" else _number(name, left)


def _exact(name: str, amount: float) -> float:
    """Thousandths of a core: sums of whole numbers have no rest."""
    return round(amount * 1000) if name == "cpu" and amount != inf else amount


def _amounts(wants: Amounts) -> Mapping[str, float]:
    return {"gpu": wants.gpu, "memory": wants.memory, "cpu": wants.cpu, "disk": wants.disk}


def _total(name: str, machine: Machine) -> float:
    return len(machine.gpus) if name == "gpu" else float(getattr(machine, name))


def _unavailable(text: str) -> LaunchRefused:
    return LaunchRefused(f"{text}; ask for less, or run it where there is more", code="ResourcesUnavailable")


def _plain(number: float) -> str:
    return f"{number:.6g}"


def size(number: float) -> str:
    """An amount of bytes, for people."""
    unit = next((unit for unit in _UNITS if number < 1024 * _UNITS[unit]), "TiB")
    return f"{number / _UNITS[unit]:.4g} {unit}"


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}"


def _cpus(count: float) -> str:
    return f"{_plain(count)} CPU{'s' * (count != 1)}"


_SPELLINGS: Mapping[str, Callable[[float], str]] = {
    "gpu": lambda count: _gpus(int(count)),
    "memory": lambda amount: f"{size(amount)} of memory",
    "cpu": _cpus,
    "disk": lambda amount: f"{size(amount)} of disk",
}


def _spell(name: str, amount: float) -> str:
    return _SPELLINGS[name](amount)


def _number(name: str, amount: float) -> str:
    return size(amount) if name in ("memory", "disk") else _plain(amount)


def _has(name: str, machine: Machine) -> str:
    return _number(name, _total(name, machine))
