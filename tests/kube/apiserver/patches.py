"""Changes of an object: merge patches (RFC 7386) and server-side apply, in its simple form.

Apply: maps are merged, everything else is replaced as a whole; what a manager applied before and leaves out now is
removed, unless another manager applies it, too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]


def merged(old: Any, change: Any) -> Any:
    """``old`` as ``change`` says; neither is altered."""
    if not isinstance(change, Mapping):
        return change
    new = dict(old) if isinstance(old, Mapping) else {}
    for key, value in change.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def applied(old: Any, change: Mapping[str, Any], before: set[Path], others: set[Path]) -> Any:
    """``old`` with all of ``change``, and without what ``before`` had, ``change`` has not and ``others`` have not."""
    new = merged(old, change)
    for path in sorted(before - set(leaves(change)) - others, key=len, reverse=True):
        _remove(new, path)
    return new


def leaves(value: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    """Where the values of an object are that are no maps."""
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from leaves(one, (*above, key))
        else:
            yield (*above, key)


def _remove(value: dict[str, Any], path: Path) -> None:
    """``value`` is new down to its leaves, as `merged` has made it, where ``path`` leads: each map is copied first."""
    for key in path[:-1]:
        inner = value.get(key)
        if not isinstance(inner, dict):
            return
        value[key] = value = dict(inner)
    value.pop(path[-1], None)
