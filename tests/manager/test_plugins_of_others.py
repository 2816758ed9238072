"""The package of docs/howto/plugins.md, as it is there: installed, found by its entry points, and at work."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.core import tasks_pb2
from google.protobuf.struct_pb2 import Struct

from alula.core.taskaction import Link, Request, Stage
from alula.kube.objects import Kind, Object
from alula.manager.jobspec.names import label
from tests.kube.apiserver.between import answer
from tests.kube.apiserver.server import listening
from tests.kube.cluster import Cluster, beginning
from tests.manager.managed import Control, control, request
from tests.manager.site import managed

DOCUMENT = Path(__file__).parents[2] / "docs" / "howto" / "plugins.md"
JOBS = Kind("batch", "v1", "Job", "jobs")
CRD: Object = {
    "metadata": {"name": "jobs.batch"},
    "spec": {
        "group": "batch",
        "scope": "Namespaced",
        "names": {"kind": "Job", "plural": "jobs", "singular": "job", "listKind": "JobList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def install(folder: Path) -> Path:
    """Write the document's files and install what they are; where."""
    files = re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["pyproject.toml", "alula_house/batch.py", "alula_house/farm.py"]
    for name, text in files:
        (folder / "house" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "house" / name).write_text(text)
    words = [
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(folder / "site"),
    ]
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, *words, "--python", sys.executable, folder / "house"], check=True, timeout=60)
    return folder / "site"


class Farm:
    """The service of the document's remote."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.done: set[str] = set()
        self.ended: list[str] = []

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        name = scope["path"].removeprefix("/jobs/")
        if scope["method"] == "PUT":
            self.jobs[name] = json.loads(body)
        elif scope["method"] == "DELETE":
            self.ended.append(name)
        told = {"state": "done" if name in self.done else "running"}
        await answer(send, 200, json.dumps(told).encode())


def asked(number: int, kind: str, **custom: Any) -> Request:
    given = Struct()
    given.update(custom)
    container = tasks_pb2.Container(image="busybox", command=["true"])
    template = tasks_pb2.TaskTemplate(type=kind, container=container, custom=given)
    return request(number, task_type=kind, template=template.SerializeToString())


async def end(plane: Control, job: Object, condition: Mapping[str, str]) -> None:
    await plane.kube.replace(JOBS, {**job, "status": {"conditions": [condition]}}, status=True)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with beginning(tmp_path, None) as found:
        yield found


async def test_the_package_of_the_document(tmp_path: Path, memory: Cluster) -> None:
    farm, site = Farm(), install(tmp_path)
    await memory.install(CRD)
    async with listening(farm, lambda: None) as url, control(memory) as plane:
        env = {"PYTHONPATH": str(site), "FARM_URL": url}
        async with managed(memory.kubeconfig, memory.namespace, tmp_path, env=env):
            good, bad, wrong = asked(1, "batch-job", count=2), asked(2, "batch-job"), asked(3, "batch-job", count=-1)
            remote, lost = asked(4, "farm", frames=10), asked(5, "farm")
            for one in (good, bad, wrong, remote, lost):
                await plane.submit(one)
            job = await plane.come(JOBS, label(good.name))
            assert job["spec"]["completions"] == 2
            assert job["spec"]["template"]["metadata"]["labels"]["flyte.org/attempt-name"] == good.name
            await end(plane, job, {"type": "Complete", "status": "True"})
            job = await plane.come(JOBS, label(bad.name))
            await end(plane, job, {"type": "Failed", "status": "True", "message": "one pod failed"})
            told = await plane.until(remote.name, lambda state: state.stage is Stage.RUNNING)
            assert told.links == (Link("Farm", f"{url}/jobs/{remote.name}"),)
            farm.done.add(remote.name)
            over = await plane.over([good.name, bad.name, wrong.name, remote.name])
            assert [state.stage.value for state in over] == ["Completed", *["PermanentFailure"] * 2, "Completed"]
            causes = [state.cause and (state.cause.code, state.cause.message) for state in over]
            assert causes == [
                None,
                ("JobFailed", "one pod failed"),
                ("BadTaskSpecification", "count is -1; it has to be 1 or more"),
                None,
            ]
            await plane.until(lost.name, lambda state: state.stage is Stage.RUNNING)
            await plane.release(lost.name)
            await plane.gone(Kind("flyte.org", "v1", "TaskAction", "taskactions"), 4)
    assert farm.jobs == {remote.name: {"frames": 10.0}, lost.name: {}}
    assert farm.ended == [lost.name]
