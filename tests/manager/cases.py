"""Golden files: in one file a case (what a task says) and the manifest that is made of it.

``ALULA_GOLDEN=write`` writes the manifests anew; what stands before the ``---`` is written by people.
"""

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import ParseDict

from alula.core.taskaction import Request
from alula.kube.objects import Object
from alula.manager.plugins.base import Task
from alula.manager.podspec.settings import PodSettings

FOLDER = Path(__file__).with_name("golden")
_WRITES = os.environ.get("ALULA_GOLDEN") == "write"
REQUEST = Request(
    name="r1-a0.0123456789ab.1",
    project="shop",
    domain="development",
    run="r1",
    action="a0",
    attempt=1,
    task_type="python",
    env={"RUN_NAME": "r1", "ACTION_NAME": "a0"},
    input_uri="s3://data/r1/inputs.pb",
    output_uri="s3://data/r1/a0/1",
    raw_uri="s3://data/r1/a0/1/raw",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A case of a golden file. ``manifest`` is `None` if none was ever written."""

    path: Path
    text: str
    task: Task
    manifest: Object | None

    def check(self, made: Object) -> None:
        """That the manifest is the one in the file, or put it there."""
        if _WRITES:
            self.path.write_text(f"{self.text}---\n{yaml.safe_dump(made, width=120)}")
        else:
            assert made == self.manifest, f"{self.path.name}: see what changed with ALULA_GOLDEN=write and a diff"


def cases(prefix: str) -> list[Path]:
    """The golden files whose names begin so."""
    return sorted(FOLDER.glob(f"{prefix}*.yaml"))


def load(path: Path) -> Case:
    """Read a golden file."""
    text, found, manifest = path.read_text().partition("---\n")
    said = yaml.safe_load(text)
    template = task_template(said["template"])
    request = replace(REQUEST, **{"task_type": template.type, **said.get("request", {})})
    task = Task(request, template, "work", settings(said.get("settings", {})), said.get("templates", {}))
    return Case(path, text, task, yaml.safe_load(manifest) if found else None)


def task_template(said: dict[str, Any]) -> tasks_pb2.TaskTemplate:
    """A template from its JSON form."""
    usual = {"id": {"project": "shop", "domain": "development", "name": "shop.main", "version": "v1"}}
    return ParseDict({**usual, **said}, tasks_pb2.TaskTemplate())


def settings(said: dict[str, Any]) -> PodSettings:
    """Settings as they are in a file; times in seconds."""
    times = ("image_pull_grace", "create_container_grace", "pending_timeout", "upload_timeout")
    read: dict[str, Any] = {key: timedelta(seconds=value) if key in times else value for key, value in said.items()}
    return PodSettings(**read)
