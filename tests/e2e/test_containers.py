"""Containers that are not the SDK's, over plain gRPC and plain HTTP: this server runs their commands as processes."""

from collections.abc import Iterator

import grpc
import httpx
import pytest
from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2, dataproxy_service_pb2_grpc
from flyteidl2.workflow import run_service_pb2, run_service_pb2_grpc

from .user import User, serving

PROJECT = identifier_pb2.ProjectIdentifier(name="flytesnacks", domain="development")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user of a server that is to use no engine, though there may be one."""
    folder = tmp_path_factory.mktemp("containers")
    with serving(folder / "home", '[executor]\ncontainers = "off"\n') as served:
        yield User(folder, served.home, served.port)


def request(*words: str, image: str = "python:3.9") -> run_service_pb2.CreateRunRequest:
    request = run_service_pb2.CreateRunRequest(project_id=PROJECT)
    template = request.task_spec.task_template
    template.id.name, template.id.version, template.type = "container.raw", "v1", "raw-container"
    template.id.project, template.id.domain = PROJECT.name, PROJECT.domain
    template.container.image = image
    template.container.args.extend(words)
    return request


@pytest.mark.parametrize(
    ("words", "phase", "printed", "code"),
    [
        (("python", "-c", "print('hello from a container')"), "SUCCEEDED", "hello from a container\n", ""),
        (("python", "-c", "raise SystemExit('it is broken')"), "FAILED", "it is broken\n", "ContainerFailed"),
        (("no-such-command",), "FAILED", "", "ContainerFailed"),
    ],
)
def test_over_grpc(user: User, words: tuple[str, ...], phase: str, printed: str, code: str) -> None:
    """Cases O25 and O26: no containers, no cluster, no store of others."""
    with grpc.insecure_channel(f"localhost:{user.port}") as channel:
        runs = run_service_pb2_grpc.RunServiceStub(channel)  # type: ignore[no-untyped-call]
        data = dataproxy_service_pb2_grpc.DataProxyServiceStub(channel)  # type: ignore[no-untyped-call]
        action = runs.CreateRun(request(*words), timeout=20).run.action.id
        watch = run_service_pb2.WatchActionDetailsRequest(action_id=action)
        *_, last = runs.WatchActionDetails(watch, timeout=60)
        assert phase_pb2.ActionPhase.Name(last.details.status.phase) == f"ACTION_PHASE_{phase}"
        assert last.details.error_info.code == code
        tail = dataproxy_service_pb2.TailLogsRequest(action_id=action, attempt=1)
        lines = [line for told in data.TailLogs(tail, timeout=20) for logs in told.logs for line in logs.lines]
        assert "".join(line.message for line in lines if line.originator == 1) == printed


def test_over_http(user: User) -> None:
    body = {
        "projectId": {"name": "flytesnacks", "domain": "development"},
        "taskSpec": {
            "taskTemplate": {
                "id": {"name": "container.json", "version": "v1", "project": "flytesnacks", "domain": "development"},
                "type": "raw-container",
                "container": {"image": "python:3.9", "args": ["python", "-c", "print('by JSON')"]},
            }
        },
    }
    with httpx.Client(base_url=user.url, trust_env=False, timeout=20) as http:
        created = http.post("/flyteidl2.workflow.RunService/CreateRun", json=body)
        assert created.status_code == 200, created.text
        run = created.json()["run"]["action"]["id"]["run"]
    assert "by JSON" in user.flyte("get", "logs", run["name"])
    (details,) = user.json("get", "run", run["name"])
    assert details["action"]["status"]["phase"] == "ACTION_PHASE_SUCCEEDED"
