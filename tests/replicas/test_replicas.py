"""Several servers on one database: what is said to one is seen through another, and each may die at any moment.

Cases O15 and C1 with more than one server: nothing is lost and nothing is done twice.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.task import task_definition_pb2, task_service_pb2
from flyteidl2.trigger import trigger_service_pb2
from flyteidl2.trigger.trigger_service_connect import TriggerServiceClient
from flyteidl2.workflow import run_service_pb2 as rpc

from alula.core.lease import SHARDS
from tests.api.caller import DOMAIN, PROJECT, SUCCEEDED, action_id, python, run_id
from tests.control.timed import every
from tests.e2e.user import User

from .replica import PATIENCE, TERM, Cluster, Replica

HELLO = Path(__file__).resolve().parents[2] / "examples" / "01-hello"
pytestmark = [pytest.mark.xdist_group("replicas"), pytest.mark.timeout(120)]
SHARES = "SELECT holder, count(*) AS count FROM leases WHERE name LIKE 'runs/%' GROUP BY holder"


class Batch:
    """Runs that say when an attempt of theirs begins, and wait at a gate until it is opened."""

    def __init__(self, cluster: Cluster, folder: Path, name: str, count: int) -> None:
        self.cluster = cluster
        self.names = [f"{name}-{number}" for number in range(count)]
        self.ran = folder / f"{name}.ran"
        self.gate = folder / f"{name}.gate"
        self.ran.touch()
        self.code = (
            "import os, time\n"
            f"with open({str(self.ran)!r}, 'a') as file: file.write(os.environ['RUN_NAME'] + ' '"
            " + os.environ['FLYTE_ATTEMPT_NUMBER'] + '\\n')\n"
            f"while not os.path.exists({str(self.gate)!r}): time.sleep(0.02)\n"
        )

    async def start(self, *through: Replica) -> None:
        await asyncio.gather(
            *(
                through[number % len(through)].caller.start(python(self.code), name=name)
                for number, name in enumerate(self.names)
            )
        )

    def attempts(self) -> Counter[str]:
        return Counter(self.ran.read_text().splitlines())

    async def begun(self, condition: Callable[[Counter[str]], bool]) -> None:
        await eventually(lambda: condition(self.attempts()))

    async def all_begun(self) -> None:
        await self.begun(lambda ran: all(f"{name} 0" in ran for name in self.names))

    async def end(self, through: Replica) -> dict[str, int]:
        """Open the gate and watch every run to its end; how many attempts each took. Nothing was done twice."""
        self.gate.touch()
        caller = through.caller
        ended = await asyncio.gather(*(caller.ended(action_id(run_id(name))) for name in self.names))
        assert [details.status.phase for details in ended] == [SUCCEEDED] * len(self.names)
        assert set(self.attempts().values()) == {1}, "no attempt was started twice"
        twice = self.cluster.rows(
            "SELECT run, action, attempt FROM events WHERE phase IN (5, 6, 7, 8) "
            "GROUP BY run, action, attempt HAVING count(*) > 1"
        )
        assert twice == [], "no attempt has two ends"
        return {name: details.status.attempts for name, details in zip(self.names, ended, strict=True)}


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do: they tell nobody here."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.05)


async def shared_fairly(cluster: Cluster, replicas: int) -> None:
    def fair() -> bool:
        shares = [row["count"] for row in cluster.rows(SHARES)]
        return len(shares) == replicas and sum(shares) == SHARDS and max(shares) - min(shares) <= 1

    await eventually(fair)


async def lag(cluster: Cluster, name: str) -> float:
    """Seconds until who watches runs through B is told of one that is created through A."""
    project = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
    request = rpc.WatchRunsRequest(project_id=project)
    watching, told = asyncio.Event(), asyncio.Event()

    async def watch() -> None:
        async for message in cluster.b.caller.runs.watch_runs(request):
            watching.set()
            if any(run.action.id.run.name == name for run in message.runs):
                told.set()
                return

    async with asyncio.timeout(PATIENCE):
        task = asyncio.create_task(watch())
        await asyncio.wait({task, asyncio.create_task(watching.wait())}, return_when=asyncio.FIRST_COMPLETED)
        began = time.monotonic()
        await cluster.a.caller.start(python("pass"), name=name)
        await told.wait()
        took = time.monotonic() - began
        await task
    return took


async def test_all_replicas_are_ready_and_share_the_work(cluster: Cluster) -> None:
    async with httpx.AsyncClient() as http:
        for replica in (cluster.a, cluster.b, cluster.c):
            answer = await http.get(f"{replica.url}/readyz")
            assert answer.status_code == 200, answer.text
    await shared_fairly(cluster, 2)


async def test_created_through_one_watched_through_another_listed_through_a_third(cluster: Cluster) -> None:
    action = await cluster.a.caller.start(python("print('hello from a replica')"), name="anywhere")
    watched = await cluster.b.caller.ended(action)
    assert watched.status.phase == SUCCEEDED
    project = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
    listed = await cluster.c.caller.runs.list_runs(
        rpc.ListRunsRequest(project_id=project, request=list_pb2.ListRequest(limit=10))
    )
    assert "anywhere" in [run.action.id.run.name for run in listed.runs]
    assert "hello from a replica" in await cluster.c.caller.log(action), "the replicas share a home"


async def test_logs_are_followed_through_a_replica_that_runs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = f"import os, time\nprint('waiting', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    action = await cluster.a.caller.start(python(code))
    await cluster.c.caller.says(action, "waiting")
    gate.touch()
    assert (await cluster.b.caller.ended(action)).status.phase == SUCCEEDED


async def test_updates_arrive_within_a_second(cluster: Cluster) -> None:
    await lag(cluster, "warm")
    assert await lag(cluster, "prompt") < 1.0


async def test_updates_arrive_when_every_listener_has_been_killed(cluster: Cluster) -> None:
    """A killed listener costs at most a second, and no update."""
    killed = cluster.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_current_snapshot%'"
    )
    assert len(killed) >= 3, "each replica has one"
    assert await lag(cluster, "deaf") < 2.0


async def test_apps_are_served_by_one_and_the_others_say_by_whom(cluster: Cluster) -> None:
    [row] = cluster.rows("SELECT r.url FROM leases l JOIN replicas r ON r.id = l.holder WHERE l.name = 'apps/0'")
    answers = {}
    async with httpx.AsyncClient() as http:
        for replica in (cluster.a, cluster.b, cluster.c):
            answers[replica.url] = await http.get(f"{replica.url}/apps/{PROJECT}/{DOMAIN}/nothing")
    assert answers.pop(row["url"]).status_code == 404
    for answer in answers.values():
        assert answer.status_code == 503
        assert row["url"] in answer.json()["message"]


async def test_several_schedulers_fire_each_tick_once(cluster: Cluster) -> None:
    """Case C26 with a scheduler in each of three processes, on one tick of many triggers."""
    client = TriggerServiceClient(cluster.a.url)
    spec = python("pass")
    identifier = spec.task_template.id
    identifier.project, identifier.domain, identifier.name, identifier.version = PROJECT, DOMAIN, "ticking", "v1"
    deployment = task_service_pb2.DeployTaskRequest(
        task_id=task_definition_pb2.TaskIdentifier(project=PROJECT, domain=DOMAIN, name="ticking", version="v1"),
        spec=spec,
    )
    await cluster.a.caller.tasks.deploy_task(deployment)
    tick = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    names = [f"tick-{number}" for number in range(30)]
    for name in names:
        request = trigger_service_pb2.DeployTriggerRequest(automation_spec=every(600, tick))
        target, request.spec.active, request.spec.task_version = request.name, True, "v1"
        target.project, target.domain, target.task_name, target.name = PROJECT, DOMAIN, "ticking", name
        await client.deploy_trigger(request)
    count = "SELECT trigger_name, count(*) AS count FROM runs WHERE trigger_task = 'ticking' GROUP BY trigger_name"
    await eventually(lambda: len(cluster.rows(count)) == len(names))
    await asyncio.sleep(max(0.0, (tick - datetime.now(UTC)).total_seconds()) + 1)  # for what must not come
    assert {row["trigger_name"]: row["count"] for row in cluster.rows(count)} == dict.fromkeys(names, 1)


def test_the_sdk_runs_its_first_example(cluster: Cluster, tmp_path: Path) -> None:
    """Children, a trace and a group, through `flyte run`, on PostgreSQL."""
    config = f"admin:\n  endpoint: dns:///localhost:{cluster.b.port}\n  insecure: true\n"
    (tmp_path / "config.yaml").write_text(f"{config}task:\n  project: {PROJECT}\n  domain: {DOMAIN}\n")
    (tmp_path / "keys.json").write_bytes((cluster.home / "objects" / "keys.json").read_bytes())
    user = User(tmp_path, tmp_path, cluster.b.port)
    name = user.start("hello.py", "main", "--n", "4", cwd=HELLO)
    assert user.outputs(name) == "ActionOutputs(o0=[0, 1, 4, 9])"


async def test_a_replica_that_is_killed_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    """Its runs are taken over within a term and a beat; what ran there is lost, and tried again."""
    await shared_fairly(cluster, 2)
    batch = Batch(cluster, tmp_path, "killed", 10)
    await batch.start(cluster.a, cluster.b, cluster.c)
    await batch.all_begun()
    mine = len(cluster.a.tasks())
    assert 0 < mine < len(batch.names), "both run some"
    cluster.a.stop(signal.SIGKILL)
    await batch.begun(lambda ran: sum(key.endswith(" 1") for key in ran) == mine)
    assert cluster.a.tasks() == [], "they ended with their server"
    attempts = await batch.end(cluster.c)
    assert Counter(attempts.values()) == Counter({1: len(batch.names) - mine, 2: mine})
    cluster.a.start().wait()
    await shared_fairly(cluster, 2)


async def test_a_replica_that_was_stopped_for_long_changes_nothing_when_it_wakes(
    cluster: Cluster, tmp_path: Path
) -> None:
    """It does not know that it was replaced: its first write is refused, and what it runs it ends."""
    await shared_fairly(cluster, 2)
    batch = Batch(cluster, tmp_path, "stopped", 10)
    await batch.start(cluster.c)
    await batch.all_begun()
    theirs = len(cluster.b.tasks())
    assert 0 < theirs < len(batch.names)
    cluster.b.send(signal.SIGSTOP)
    try:
        await batch.begun(lambda ran: sum(key.endswith(" 1") for key in ran) == theirs)
        assert len(cluster.b.tasks()) == theirs, "nobody else ends them"
        late = Batch(cluster, tmp_path, "late", 4)
        await late.start(cluster.a)
        await late.all_begun()
    finally:
        cluster.b.send(signal.SIGCONT)
    await eventually(lambda: not cluster.b.tasks())
    await shared_fairly(cluster, 2)
    assert "it begins anew" in cluster.b.log
    attempts = await batch.end(cluster.c)
    assert Counter(attempts.values()) == Counter({1: len(batch.names) - theirs, 2: theirs})
    assert set((await late.end(cluster.b)).values()) == {1}, "who woke has not touched what others had begun"


async def test_a_rolling_restart_with_runs_in_progress(cluster: Cluster, tmp_path: Path) -> None:
    """A replica that is told to end gives its leases up: others take over at once, not after a term."""
    batch = Batch(cluster, tmp_path, "rolling", 8)
    await batch.start(cluster.a, cluster.b)
    await batch.all_begun()
    for replica, other in ((cluster.a, cluster.b), (cluster.b, cluster.a)):
        mine = len(replica.tasks())
        before = len(batch.attempts())
        assert replica.stop() == 0
        began = time.monotonic()
        await batch.begun(lambda ran, goal=before + mine: len(ran) == goal)  # type: ignore[misc]
        assert time.monotonic() - began < TERM
        assert len(other.tasks()) == len(batch.names)
        replica.start().wait()
    attempts = await batch.end(cluster.c)
    assert max(attempts.values()) <= 3


async def test_a_new_replica_takes_nothing_that_is_running(cluster: Cluster, tmp_path: Path) -> None:
    batch = Batch(cluster, tmp_path, "kept", 6)
    await shared_fairly(cluster, 2)
    cluster.a.stop()
    await shared_fairly(cluster, 1)
    await batch.start(cluster.b)
    await batch.all_begun()
    cluster.a.start().wait()
    await shared_fairly(cluster, 2)
    assert set((await batch.end(cluster.a)).values()) == {1}
