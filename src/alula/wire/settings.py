"""Settings: messages as layers, and back.

The message is walked by its descriptors: a setting is any message with a ``state`` and a ``scope_level``, and its value
is the one field beside these. So one that a newer protocol adds is stored, inherited and told without a change here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from flyteidl2.core import tasks_pb2
from flyteidl2.settings import settings_definition_pb2 as definition
from flyteidl2.settings import settings_service_pb2 as service
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from alula.core.errors import Invalid
from alula.core.scope import Level, Scope
from alula.core.setting import Layer, Record, Setting, State

_BESIDE = frozenset({"state", "scope_level"})
_LARGEST = 256 * 1024  # bytes of a record: every run of its scope reads it


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Where a setting is in the message, and the name of its value."""

    names: tuple[str, ...]
    value: str

    @property
    def path(self) -> str:
        return ".".join(self.names)


@cache
def _leaves() -> tuple[_Leaf, ...]:
    return tuple(_below(cast("Descriptor", definition.Settings.DESCRIPTOR), ()))


def _below(kind: Descriptor, above: tuple[str, ...]) -> Iterator[_Leaf]:
    for field in kind.fields:
        inner, names = field.message_type, (*above, field.name)
        if inner is None:
            continue
        fields = {field.name for field in inner.fields}
        if fields >= _BESIDE:
            (value,) = fields - _BESIDE
            yield _Leaf(names, value)
        else:
            yield from _below(inner, names)


def layer(message: definition.Settings, level: Level) -> Layer:
    """What a level says. `Invalid` for a state or an accelerator that there is not."""
    found = ((leaf, _find(message, leaf.names)) for leaf in _leaves())
    return {
        leaf.path: Setting(state, _value(leaf, said) if state is State.VALUE else None, level)
        for leaf, said in found
        if said is not None and (state := _state(leaf, said))
    }


def _find(message: Message, names: Iterable[str]) -> Any:
    for name in names:
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    return message


def _state(leaf: _Leaf, said: Any) -> State:
    if said.state not in set(State):
        raise Invalid(f"settings.{leaf.path}.state: {said.state} is not a state of a setting")
    return State(said.state)


def _value(leaf: _Leaf, said: Any) -> Any:
    value = getattr(said, leaf.value)
    if isinstance(value, definition.StringMap):
        return dict(value.entries)
    if isinstance(value, tasks_pb2.GPUAccelerator) and value.device not in _accelerators():
        known = ", ".join(sorted(_accelerators()))
        raise Invalid(f"settings.{leaf.path}: {value.device[:80]!r} is not an accelerator; there are: {known}")
    return value


@cache
def _accelerators() -> frozenset[str]:
    models = tasks_pb2.AcceleratorModel.DESCRIPTOR.values
    named: Any = tasks_pb2.accelerator_name  # an option of enum values, whatever its stub says
    return frozenset(model.GetOptions().Extensions[named] for model in models) - {""}


def message(said: Layer) -> definition.Settings:
    """What levels say, or have come to, with the level of each."""
    made = definition.Settings()
    for leaf in _leaves():
        setting = said.get(leaf.path)
        if setting is None:
            continue
        holder: Any = made
        for name in leaf.names:
            holder = getattr(holder, name)
        holder.SetInParent()
        holder.state, holder.scope_level = int(setting.state), int(setting.level)
        if isinstance(setting.value, Mapping):
            getattr(holder, leaf.value).entries.update(setting.value)
        elif isinstance(setting.value, Message):
            getattr(holder, leaf.value).CopyFrom(setting.value)
        elif setting.value is not None:
            setattr(holder, leaf.value, setting.value)
    return made


def body(said: Layer) -> bytes:
    """A layer, as it is stored: without its level, which is its place. `Invalid` for one that is too large."""
    bare = {path: Setting(setting.state, setting.value, Level.ORG) for path, setting in said.items()}
    made = message(bare).SerializeToString(deterministic=True)
    if len(made) > _LARGEST:
        raise Invalid(f"settings: {len(made)} bytes are more than the {_LARGEST} that one scope may have")
    return made


def stored(record: Record) -> Layer:
    """A record as a layer."""
    return layer(definition.Settings.FromString(record.body), record.scope.level)


def scope(key: definition.SettingsKey) -> Scope:
    return Scope(key.domain, key.project)


def record_message(record: Record, org: str) -> service.SettingsRecord:
    """A record as its editor sees it."""
    key = definition.SettingsKey(org=org, domain=record.scope.domain, project=record.scope.project)
    settings = definition.Settings.FromString(record.body)
    return service.SettingsRecord(key=key, settings=settings, version=record.version)


def resolved_message(key: definition.SettingsKey, resolved: Layer, version: int) -> service.SettingsRecord:
    """What applies in a scope, and the version of the scope's own record."""
    return service.SettingsRecord(key=key, settings=message(resolved), version=version)
