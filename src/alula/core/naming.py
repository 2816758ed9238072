"""Names that this server gives, and the rules for names that clients give."""

import hashlib
import re

from alula.core.errors import Invalid
from alula.core.ids import ActionId

RUN_NAME_LIMIT = 30  # characters, `common.RunIdentifier.name`
_RUN_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_UNSAFE = re.compile(r"[^a-z0-9-]+")
_LABEL = 63  # characters of a label's value in a cluster
_GENERATED = 20  # characters of a generated run name


def check_run_name(name: str) -> None:
    """A run's name is a DNS label: clients build host and object names from it."""
    if len(name) > RUN_NAME_LIMIT or not _RUN_NAME.fullmatch(name):
        raise Invalid(
            f"run_id.name: {name!r} is not a run name; use at most {RUN_NAME_LIMIT} lower-case letters, digits "
            "and '-', starting with a letter and not ending with '-'"
        )


def run_name(seed: bytes) -> str:
    """A run name: 76 bits of a hash over randomness, or over what makes a request unique."""
    return f"r{hashlib.sha256(seed).hexdigest()[: _GENERATED - 1]}"


def attempt_name(action: ActionId, attempt: int) -> str:
    """The name of one attempt for its executor: readable, safe as a file name, and unique for ever."""
    digest = hashlib.sha256(str(action).encode()).hexdigest()[:12]
    readable = _UNSAFE.sub("-", f"{action.run.name}-{action.name}".lower()).strip("-")[:80]
    return f"{readable}.{digest}.{attempt}"


def attempt_label(name: str) -> str:
    """The name of an attempt as the value of a label: itself, or its hash if it is too long for one."""
    return name if len(name) <= _LABEL else f"a{hashlib.sha256(name.encode()).hexdigest()[:40]}"
