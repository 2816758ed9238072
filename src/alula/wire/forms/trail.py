"""Where a conversion is: the path that its errors name, and the bounds that hostile input meets."""

from typing import TypeAlias

from alula.core.errors import Invalid

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

MAX_DEPTH = 40  # what protobuf itself accepts is no deeper: 100 messages, of which a level takes two or three
MAX_STEPS = 200_000  # values looked at in one conversion; one to two seconds of work
_SHOWN = 60  # characters of a value, or of a name, in a message
_LONGEST = 1000  # characters of a message


class OutOfBounds(Invalid):
    """Too deep or too large: no other way to read the value would help."""


class Trail:
    """A place in nested data. All places of one conversion share one bound on the work."""

    __slots__ = ("depth", "left", "name", "parent")

    def __init__(self, name: str, parent: "Trail | None" = None) -> None:
        self.name = name
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.left: list[int] = parent.left if parent else [MAX_STEPS]
        self.left[0] -= 1
        if self.depth > MAX_DEPTH:
            raise OutOfBounds(f"{self.names(3)}: nested more than {MAX_DEPTH} levels deep: flatten it")
        if self.left[0] < 0:
            raise OutOfBounds(f"{self.names(3)}: too large for a form: pass large values as files")

    def at(self, key: str) -> "Trail":
        """The place of a field."""
        return Trail(f".{key}", self)

    def item(self, index: int) -> "Trail":
        """The place of an item of a list."""
        return Trail(f"[{index}]", self)

    def same(self) -> "Trail":
        """The same place, read another way: one level deeper, as it costs one."""
        return Trail("", self)

    def invalid(self, what: str) -> Invalid:
        """The error to raise here."""
        return Invalid(f"{self}: {what}"[:_LONGEST])

    def names(self, most: int | None = None) -> str:
        """The path from the start: all of it, or its first names, which are enough to find what goes too deep."""
        found: list[str] = []
        place: Trail | None = self
        while place is not None:
            found.append(place.name[:_SHOWN])
            place = place.parent
        return "".join(found[::-1][:most])

    def __str__(self) -> str:
        return self.names()


def brief(value: object) -> str:
    """A value as a message shows it. Of lists and objects, which may be deep, only what they are."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}..."
    return repr(value)
