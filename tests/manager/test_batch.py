"""AWS Batch: what it is asked, what it says, and a Manager that drives it, against a service of the test over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any

import pytest

from alula.core.errors import Unavailable
from alula.core.taskaction import Stage
from alula.manager.plugins.base import BadTask, Failed, Task, Unsure
from alula.manager.plugins.batch import BatchPlugin, client
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.settings import PodSettings
from alula.manager.remote.batch import asked, state
from alula.manager.settings import Batch
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster
from tests.manager.cases import REQUEST, task_template
from tests.manager.managed import control, managing, request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONTAINER = {"image": "busybox", "command": ["echo"], "args": ["hi"], "env": [{"key": "A", "value": "b"}]}


class Service:
    """As much of AWS Batch as a plugin needs. ``answer`` says otherwise what a path answers."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.answer: dict[str, tuple[int, str]] = {}

    def submitjob(self, said: dict[str, Any]) -> dict[str, Any]:
        job = f"j{len(self.jobs) + 1}"
        self.jobs[job] = {"jobId": job, "status": "RUNNING", "startedAt": int(time() * 1000), **said}
        return {"jobId": job, "jobName": said["jobName"]}

    def listjobs(self, said: dict[str, Any]) -> dict[str, Any]:
        (named,) = said["filters"]
        found = [one for one in self.jobs.values() if one["jobName"] in named["values"]]
        return {"jobSummaryList": [{"jobId": one["jobId"], "jobName": one["jobName"]} for one in found]}

    def describejobs(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [self.jobs[job] for job in said["jobs"] if job in self.jobs]}

    def terminatejob(self, said: dict[str, Any]) -> dict[str, Any]:
        self.jobs[said["jobId"]] |= {"status": "FAILED", "isTerminated": True, "statusReason": said["reason"]}
        return {}

    def describejobdefinitions(self, said: dict[str, Any]) -> dict[str, Any]:
        found = self.definitions.get(said["jobDefinitionName"])
        return {"jobDefinitions": [found] if found else []}

    def registerjobdefinition(self, said: dict[str, Any]) -> dict[str, Any]:
        name = said["jobDefinitionName"]
        told = {"jobDefinitionName": name, "jobDefinitionArn": f"arn:{name}:1", "revision": 1}
        self.definitions[name] = {**said, **told}
        return told


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def settings(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Batch]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = self.path.rpartition("/")[2]
            service.calls.append(name)
            code, kind = service.answer.get(name, (200, ""))
            told = {"message": "as it was told"} if kind else getattr(service, name)(body)
            data = json.dumps(told).encode()
            self.send_response(code)
            self.send_header("x-amzn-errortype", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield Batch(region="eu-west-1", queue="spot", endpoint=f"http://127.0.0.1:{server.server_port}", role="arn:role")
    server.shutdown()
    server.server_close()


@pytest.fixture
def plugin(settings: Batch) -> BatchPlugin:
    return BatchPlugin(client(settings), settings)


def task(custom: dict[str, Any] | None = None, **template: Any) -> Task:
    whole = {"type": "aws-batch", "container": CONTAINER, "custom": custom or {}, **template}
    return Task(REQUEST, task_template(whole), "work", PodSettings())


async def test_a_job_is_begun_once_seen_and_ended(plugin: BatchPlugin, service: Service) -> None:
    assert await plugin.knows(task())
    handle = await plugin.create(task({"tags": {"team": "a"}, "jobRoleArn": "arn:mine"}), NOW)
    assert await plugin.create(task(), NOW) == handle == b"j1"
    (job,) = service.jobs.values()
    assert job["containerOverrides"] == {
        "command": ["echo", "hi"],
        "environment": [
            {"name": "A", "value": "b"},
            {"name": "ACTION_NAME", "value": "a0"},
            {"name": "RUN_NAME", "value": "r1"},
        ],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "1024"}],
    }
    assert (job["jobQueue"], job["retryStrategy"]) == ("spot", {"attempts": 1})
    assert job["tags"] == {"team": "a", "flyte-run": "r1", "flyte-action": "a0"}
    (definition,) = service.definitions.values()
    assert job["jobDefinition"] == definition["jobDefinitionArn"]
    assert definition["containerProperties"]["jobRoleArn"] == "arn:mine"
    seen = await plugin.get(task(), handle, NOW)
    assert seen.state.stage is Stage.RUNNING
    assert seen.look_again is not None
    assert seen.look_again > NOW
    await plugin.delete(task(), handle, NOW)
    assert service.jobs["j1"]["isTerminated"]
    assert (await plugin.get(task(), b"never", NOW)).state.stage is Stage.FAILED


async def test_a_job_of_which_nobody_knows_is_found_by_its_name_and_ended(
    plugin: BatchPlugin, service: Service
) -> None:
    await plugin.create(task(), NOW)
    await plugin.delete(task(), b"", NOW)
    assert service.jobs["j1"]["isTerminated"]
    service.jobs.clear()
    await plugin.delete(task(), b"", NOW)
    assert service.calls.count("terminatejob") == 1


async def test_jobs_of_one_image_share_a_definition(plugin: BatchPlugin, service: Service, settings: Batch) -> None:
    await plugin.create(task(), NOW)
    service.jobs.clear()
    await plugin.create(task({"tags": {"other": "tags"}}), NOW)
    await BatchPlugin(client(settings), settings).create(task(), NOW)  # another Manager
    assert service.calls.count("registerjobdefinition") == 1


@pytest.mark.parametrize(
    ("path", "code", "kind", "raised"),
    [
        ("submitjob", 400, "ClientException", Failed),
        ("submitjob", 403, "AccessDeniedException", Unavailable),
        ("submitjob", 429, "TooManyRequestsException", Unavailable),
        ("submitjob", 500, "ServerException", Unavailable),
        ("registerjobdefinition", 400, "ClientException", Failed),
        ("listjobs", 400, "ClientException", Unavailable),
    ],
)
async def test_what_a_refusal_means(
    plugin: BatchPlugin, service: Service, path: str, code: int, kind: str, raised: type[Exception]
) -> None:
    service.answer[path] = (code, kind)
    with pytest.raises(raised, match="as it was told"):
        await plugin.create(task(), NOW)
    assert service.calls.count(path) == 1


async def test_a_service_that_is_not_reached_has_not_begun(settings: Batch) -> None:
    away = Batch(region="eu-west-1", queue="spot", endpoint="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="Could not connect"):
        await BatchPlugin(client(away), away).create(task(), NOW)


async def test_a_submission_without_an_answer_may_have_begun(
    plugin: BatchPlugin, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    def cut(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="x")

    monkeypatch.setattr(plugin._client, "submit_job", cut)
    with pytest.raises(Unsure):
        await plugin.create(task(), NOW)


@pytest.mark.parametrize(
    ("custom", "template", "message"),
    [
        ({"que": "spot"}, {}, "knows no 'que'"),
        ({"platformCapabilities": "MOON"}, {}, "none of EC2, FARGATE"),
        ({"tags": ["a"]}, {}, "tags of a task of AWS Batch is a map"),
        ({}, {"container": {"command": ["x"]}}, "a container with an image"),
        ({}, {"securityContext": {"secrets": [{"key": "token"}]}}, "name those of AWS instead"),
    ],
)
def test_what_cannot_be_is_refused(custom: dict[str, Any], template: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTask, match=message):
        asked(task(custom, **template), Batch(region="eu-west-1", queue="spot"))


def test_a_queue_has_to_be_named_somewhere() -> None:
    with pytest.raises(BadTask, match=r"manager\.batch\.queue"):
        asked(task(), Batch(region="eu-west-1"))
    assert asked(task({"queue": "mine"}), Batch(region="eu-west-1", queue="spot")).queue == "mine"


def test_what_fargate_needs() -> None:
    custom = {"platformCapabilities": "FARGATE", "assignPublicIp": True, "secrets": {"TOKEN": "arn:secret"}}
    container = {**CONTAINER, "resources": {"requests": [{"name": "CPU", "value": "250m"}]}}
    made = asked(task(custom, container=container), Batch(region="eu-west-1", queue="q", execution_role="arn:exec"))
    assert made.definition["platformCapabilities"] == ["FARGATE"]
    properties = made.definition["containerProperties"]
    assert properties["secrets"] == [{"name": "TOKEN", "valueFrom": "arn:secret"}]
    assert properties["networkConfiguration"] == {"assignPublicIp": "ENABLED"}
    assert properties["executionRoleArn"] == "arn:exec"
    assert made.submission["containerOverrides"]["resourceRequirements"][0] == {"type": "VCPU", "value": "0.25"}


@pytest.mark.parametrize(
    ("job", "stage", "code", "system"),
    [
        ({"status": "SUBMITTED"}, Stage.QUEUED, "", False),
        ({"status": "RUNNABLE"}, Stage.WAITING, "", False),
        ({"status": "STARTING"}, Stage.INITIALIZING, "", False),
        ({"status": "RUNNING"}, Stage.RUNNING, "", False),
        ({"status": "SUCCEEDED", "container": {"exitCode": 0}}, Stage.SUCCEEDED, "", False),
        ({"status": "FAILED", "container": {"exitCode": 3}}, Stage.FAILED, "ContainerFailed", False),
        (
            {"status": "FAILED", "container": {"exitCode": 137, "reason": "OutOfMemoryError: Container killed"}},
            Stage.FAILED,
            "OOMKilled",
            False,
        ),
        (
            {"status": "FAILED", "statusReason": "Host EC2 (instance i-1) terminated."},
            Stage.FAILED,
            "Interrupted",
            True,
        ),
        ({"status": "FAILED", "isTerminated": True}, Stage.FAILED, "RemoteJobAborted", False),
        ({"status": "FAILED"}, Stage.FAILED, "TaskFailedWithError", False),
    ],
)
def test_what_is_seen(job: dict[str, Any], stage: Stage, code: str, system: bool) -> None:
    seen = state({"jobId": "j1", **job}, "eu-west-1")
    assert seen.stage is stage
    assert (seen.cause.code if seen.cause else "", seen.cause.system if seen.cause else False) == (code, system)
    assert seen.links[0].uri.endswith("#jobs/detail/j1")


def test_a_log_is_linked() -> None:
    job = {"jobId": "j1", "status": "RUNNING", "container": {"logStreamName": "alula/default/1"}}
    assert state(job, "eu-west-1").links[1].uri == (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"
        "$252Faws$252Fbatch$252Fjob/log-events/alula$252Fdefault$252F1"
    )


async def test_a_manager_drives_it(cluster: Cluster, service: Service, settings: Batch) -> None:
    template = task_template({"type": "aws-batch", "container": CONTAINER})
    one, two = (
        request(
            number, task_type="aws-batch", template=template.SerializeToString(), output_uri=f"s3://alula/r{number}"
        )
        for number in (1, 2)
    )
    async with (
        control(cluster) as plane,
        managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], batch=settings),
    ):
        for attempt in (one, two):
            await plane.submit(attempt)
            await plane.until(attempt.name, lambda state: state.stage is Stage.RUNNING)
        await plane.release(one.name)
        service.jobs["j2"]["status"] = "SUCCEEDED"
        (state,) = await plane.over([two.name])
        assert (state.stage, state.handle) == (Stage.SUCCEEDED, b"j2")
        await plane.release(two.name)
        await plane.gone(ACTIONS)
    assert service.jobs["j1"]["isTerminated"]
    assert service.calls.count("submitjob") == 2
