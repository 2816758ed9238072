"""Settings that are inherited: what each level says, and what that comes to.

A layer is what one level says: the path of a setting (``run.default_queue``) to a `Setting`. A path that is left out is
inherited. Values are opaque here, but for maps, which are merged key by key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from typing import Any

from alula.core.scope import Level, Scope


class State(IntEnum):
    """What a level says of a setting. Numbers are those of `settings.SettingState`."""

    INHERIT = 0
    UNSET = 1  # there is no value, whatever broader levels say; a narrower one may give one
    VALUE = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """What is said of one setting, and at which level. Without a value, ``value`` is ``None``."""

    state: State
    value: Any
    level: Level


Layer = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Record:
    """A row of `settings`: a serialised Settings message. ``version`` counts from 1; 0 is a row that is not there."""

    scope: Scope
    body: bytes
    version: int


def resolve(layers: Sequence[Layer]) -> Layer:
    """What levels come to, given broadest first."""
    return reduce(over, layers, {})


def over(broad: Layer, narrow: Layer) -> Layer:
    """What a narrower level makes of what the broader ones came to."""
    return {**broad, **{path: _merged(broad.get(path), said) for path, said in narrow.items() if said.state}}


def _merged(broad: Setting | None, narrow: Setting) -> Setting:
    if broad is None or not isinstance(broad.value, Mapping) or not isinstance(narrow.value, Mapping):
        return narrow
    return Setting(State.VALUE, {**broad.value, **narrow.value}, narrow.level)


def values(resolved: Layer) -> dict[str, Any]:
    """The settings that have a value."""
    return {path: setting.value for path, setting in resolved.items() if setting.state is State.VALUE}
