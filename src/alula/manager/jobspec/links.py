"""Links to what an engine shows of itself, from templates of the administrator's (executor.md 4.10)."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from alula.core.taskaction import Link

_VARIABLE = re.compile(r"\{\{\s*[.$](\w+)\s*\}\}")


def link(name: str, template: str, values: Mapping[str, str]) -> tuple[Link, ...]:
    """One link, or none without a template or without a value that it names.

    ``{{ .variable }}`` stands for a value, whatever the case of its letters.
    """
    known = {key.lower(): value for key, value in values.items()}
    wanted = {name.lower() for name in _VARIABLE.findall(template)}
    if not template or not all(known.get(one) for one in wanted):
        return ()
    uri = _VARIABLE.sub(lambda found: quote(known[found[1].lower()], safe=""), template)
    return (Link(name, uri),)
