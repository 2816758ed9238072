"""The inputs of a raw container, laid out in a folder (executor.md 6, download)."""

import json
from collections.abc import Mapping
from pathlib import Path

from alula.copilot.layout import Layout, Object
from alula.copilot.objects import read, read_file, read_tree
from alula.core import copilot
from alula.core.copilot import Tree
from alula.core.launch import Staging


def lay(staging: Staging, folder: Path, inside: str) -> Mapping[str, Tree]:
    """Write every input into a folder, and the file that describes them all; what they are, by their names.

    Raises:
        Invalid: an input is of a kind that no file can hold.
        OSError: an object cannot be read.
    """
    body = read(staging.inputs) if staging.inputs else b""
    found = Layout(inside, staging.named, read)
    found.add(body)
    folder.mkdir(parents=True, exist_ok=True)
    for path, entry in found.entries.items():
        _write(entry, folder / path)
    (folder / "inputs.pb").write_bytes(body)
    if staging.form != "proto":  # JSON is YAML, too
        (folder / f"inputs.{staging.form}").write_text(json.dumps(copilot.plain(found.values), indent=1))
    return found.values


def _write(entry: bytes | Object | None, path: Path) -> None:
    match entry:
        case None:
            path.mkdir()
        case bytes():
            path.write_bytes(entry)
        case Object(uri, tree=True):
            read_tree(uri, path)
        case Object(uri):
            read_file(uri, path)
