"""The server that examples run against: one of our own, or one that runs already, and what it tells of them."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from flyteidl2.app.app_definition_pb2 import Status
from flyteidl2.app.app_payload_pb2 import DeleteRequest
from flyteidl2.app.app_payload_pb2 import ListRequest as ListAppsRequest
from flyteidl2.app.app_service_pb2 import DESCRIPTOR as APPS
from flyteidl2.common.identifier_pb2 import ActionIdentifier, ProjectIdentifier, RunIdentifier
from flyteidl2.common.list_pb2 import ListRequest
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.core.catalog_pb2 import CatalogCacheStatus
from flyteidl2.workflow.run_definition_pb2 import Action
from flyteidl2.workflow.run_service_pb2 import DESCRIPTOR as RUNS
from flyteidl2.workflow.run_service_pb2 import (
    AbortRunRequest,
    GetActionDetailsRequest,
    ListActionsRequest,
    ListRunsRequest,
    WatchActionDetailsRequest,
)
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from judge import ENDED, Seen

DOMAIN = "development"
PAGE = 200
COMING = frozenset({"unspecified", "unassigned", "assigned", "pending", "deploying", "started"})  # of apps
BIN = Path(sys.executable).parent
TIMEOUT = httpx.Timeout(30)
CPUS = 16  # that tasks share: the examples are written for a cluster, where most of them wait
_STILL = 5  # seconds


class Server:
    """Calls by Connect, so that what examples did is not seen through the SDK that did it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT)

    def call(self, service: str, method: str, request: Message) -> Any:
        """One rpc, and its answer."""
        descriptor = (APPS if service.endswith("AppService") else RUNS).services_by_name[service.rpartition(".")[2]]
        answer = self._http.post(
            f"/{service}/{method}",
            content=request.SerializeToString(),
            headers={"content-type": "application/proto"},
        )
        answer.raise_for_status()
        return GetMessageClass(descriptor.methods_by_name[method].output_type).FromString(answer.content)

    def runs(self, project: str) -> list[tuple[RunIdentifier, bool]]:
        """All runs of a project, and whether they have ended."""
        asked = ListRunsRequest(
            request=ListRequest(limit=PAGE), project_id=ProjectIdentifier(name=project, domain=DOMAIN)
        )
        found = []
        while True:
            page = self.call("flyteidl2.workflow.RunService", "ListRuns", asked)
            found += [(run.action.id.run, _phase(run.action) in ENDED) for run in page.runs]
            if not page.token:
                return found
            asked.request.token = page.token

    def paused(self, project: str) -> list[tuple[str, str, str]]:
        """The conditions of a project that wait for an answer: run, name, action."""
        page = ListRequest(limit=PAGE)
        pages = [
            self.call("flyteidl2.workflow.RunService", "ListActions", ListActionsRequest(request=page, run_id=run))
            for run, ended in self.runs(project)
            if not ended
        ]
        return [
            (action.id.run.name, action.metadata.condition.name, action.id.name)
            for page in pages
            for action in page.actions
            if action.metadata.HasField("condition") and _phase(action) == "paused"
        ]

    def actions(self, run: RunIdentifier) -> list[Seen]:
        """All actions of a run, with the errors of those that have some."""
        asked = ListActionsRequest(request=ListRequest(limit=PAGE), run_id=run)
        found = []
        while True:
            page = self.call("flyteidl2.workflow.RunService", "ListActions", asked)
            found += [self._seen(action) for action in page.actions]
            if not page.token:
                return found
            asked.request.token = page.token

    def _seen(self, action: Action) -> Seen:
        phase = _phase(action)
        error = ""
        if phase in ENDED - {"succeeded", "recovered"}:
            asked = GetActionDetailsRequest(action_id=action.id)
            told = self.call("flyteidl2.workflow.RunService", "GetActionDetails", asked).details
            error = told.error_info.message or told.abort_info.reason
        return Seen(
            run=action.id.run.name,
            name=action.id.name,
            task=action.metadata.funtion_name.rpartition(".")[2],
            phase=phase,
            attempts=action.status.attempts,
            cache=CatalogCacheStatus.Name(action.status.cache_status).removeprefix("CACHE_").lower(),
            error=error,
        )

    def wait(self, run: RunIdentifier, until: float) -> None:
        """Return when a run has ended, or at a time of the monotonic clock, or when nothing changed for a while."""
        root = ActionIdentifier(run=run, name="a0")
        body = WatchActionDetailsRequest(action_id=root).SerializeToString()
        path = "/flyteidl2.workflow.RunService/WatchActionDetails"
        headers = {"content-type": "application/connect+proto"}
        limit = httpx.Timeout(30, read=min(_STILL, max(0.1, until - time.monotonic())))
        framed = b"\0" + len(body).to_bytes(4, "big") + body
        try:
            with self._http.stream("POST", path, content=framed, headers=headers, timeout=limit) as stream:
                for _ in stream.iter_raw():  # the stream ends with the action
                    if time.monotonic() > until:
                        return
        except httpx.TransportError:
            return

    def abort(self, run: RunIdentifier) -> None:
        self.call("flyteidl2.workflow.RunService", "AbortRun", AbortRunRequest(run_id=run, reason="not waited for"))

    def apps(self, project: str) -> list[Any]:
        """The apps of a project."""
        asked = ListAppsRequest(request=ListRequest(limit=PAGE), project=ProjectIdentifier(name=project, domain=DOMAIN))
        return list(self.call("flyteidl2.app.AppService", "List", asked).apps)

    def delete(self, app: Any) -> None:
        self.call("flyteidl2.app.AppService", "Delete", DeleteRequest(app_id=app.metadata.id))


def _phase(action: Action) -> str:
    return ActionPhase.Name(action.status.phase).removeprefix("ACTION_PHASE_").lower()


def status(app: Any) -> tuple[str, str, str]:
    """An app's name, how it is, and what is told of that."""
    last = app.status.conditions[-1] if app.status.conditions else None
    word = Status.DeploymentStatus.Name(last.deployment_status if last else 0)
    return app.metadata.id.name, word.removeprefix("DEPLOYMENT_STATUS_").lower(), last.message if last else ""


@contextmanager
def serving(folder: Path, queues: dict[str, str], have: frozenset[str]) -> Iterator[Server]:
    """A server with a fresh home below a folder, that makes the projects which examples name."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    config = folder / "alula.toml"
    limits = "".join(f"[queues.{name}]\n{limit}\n" for name, limit in queues.items())
    config.write_text(
        f'[server]\nhome = "{folder / "server"}"\nlisten = ["localhost:{port}"]\n'
        f"[projects]\ncreate_missing = true\n"
        f"[executor]\ncpus = {CPUS}\ncontainers = '{'auto' if 'docker' in have else 'off'}'\n"
        f"build_commands = true\nbuild_apt = {str('apt' in have).lower()}\n{limits}"
    )
    command = [str(BIN / "alula"), "serve", "--config", str(config)]
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        while "alula is ready" not in (line := process.stdout.readline()):
            if not line:
                raise SystemExit(f"the server did not start: {(folder / 'server.log').read_text()}")
        try:
            yield Server(f"http://localhost:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
