"""Substitution of ``{{.name}}`` in a container's command and arguments (executor.md 5.3)."""

import re
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"\{\{\s*[.$]([A-Za-z]+)\s*\}\}")


def render(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Fill in every variable that is known (names are case-insensitive); leave the others as they are."""
    known = {name.lower(): value for name, value in values.items()}
    return tuple(_VARIABLE.sub(lambda m: known.get(m[1].lower(), m[0]), word) for word in words)
