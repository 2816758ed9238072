"""Names of jobs. Operators make names of pods, services and labels from them, so they have to be short and plain."""

import hashlib
import re

_PLAIN = re.compile(r"[^a-z0-9]+")
_HASH = 10  # characters
USUAL = 47  # leaves an operator 16 characters for what it appends; KubeRay and Spark ask for just that


def label(name: str, limit: int = USUAL) -> str:
    """The name of an attempt as a DNS label (RFC 1035) of at most ``limit`` characters.

    Of two attempts it is never the same: their names end in a hash, and a longer one is cut before a hash of it all.
    """
    plain = _PLAIN.sub("-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"a{plain}"
    if len(plain) <= limit:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH]
    return f"{plain[: limit - _HASH - 1].rstrip('-')}-{digest}"
