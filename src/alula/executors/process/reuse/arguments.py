"""The runtime's command line (`a0`), read by who runs the same in a process that is there. Standard library only."""

from collections.abc import Sequence

_OPTIONS = {
    "--inputs": "inputs",
    "--outputs-path": "outputs",
    "--version": "version",
    "--raw-data-path": "raw",
    "--checkpoint-path": "checkpoint",
    "--prev-checkpoint": "previous",
    "--run-name": "run",
    "--name": "name",
    "--run-start-time": "started",
    "--image-cache": "images",
    "--tgz": "tgz",
    "--pkl": "pkl",
    "--dest": "destination",
    "--resolver": "resolver",
    "--run-base-dir": "base",
    "--project": "project",
    "--domain": "domain",
    "--org": "org",
}
_NEEDED = ("inputs", "outputs", "version", "run", "name")


def parse(command: Sequence[str]) -> dict[str, str] | None:
    """What the command says, by the names above, or ``None`` if it is something else or asks for more than that.

    What is left, the resolver's arguments, is under ``rest``, one to a line.
    """
    if not command or command[0] != "a0":
        return None
    found: dict[str, str] = {}
    words = list(command[1:])
    at = 0
    while at < len(words) and words[at].startswith("--"):
        option, equals, value = words[at].partition("=")
        if option not in _OPTIONS or (not equals and at + 1 == len(words)):
            return None
        found[_OPTIONS[option]] = value if equals else words[at + 1]
        at += 1 if equals else 2
    rest = words[at:]
    if any(name not in found for name in _NEEDED) or any("\n" in word for word in rest):
        return None
    if "pkl" not in found and not (found.get("resolver") and rest):
        return None
    return {**found, "rest": "\n".join(rest)}
