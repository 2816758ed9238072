"""The verbs of apps, over a real database: names, revisions, lists, watches and leases."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from flyteidl2.app import app_definition_pb2 as pb
from flyteidl2.app import app_payload_pb2 as payload
from flyteidl2.core import tasks_pb2

from alula.control.apps import Apps, Happened
from alula.control.serving import Serving
from alula.core import pages
from alula.core.app import App, AppId, AppScope, Deployment, Report, Substate
from alula.core.errors import Aborted, AlreadyExists, Conflict, Invalid, LaunchRefused, NotFound
from alula.core.ingress import Address
from alula.core.pages import Order, Page, Where
from alula.wire import apps as wire
from tests.control.world import World

ACTIVE, STOPPED = pb.Spec.DESIRED_STATE_ACTIVE, pb.Spec.DESIRED_STATE_STOPPED
ALL = AppScope()
RUNNING = Report(Deployment.ACTIVE, Substate.RUNNING, "", 1)


def message(name: str = "a", *words: str, project: str = "p", domain: str = "development", **spec: Any) -> pb.App:
    made = pb.App(spec=pb.Spec(**{"desired_state": ACTIVE, **spec}))
    made.metadata.id.project, made.metadata.id.domain, made.metadata.id.name = project, domain, name
    made.spec.container.args.extend(words or ("serve",))
    return made


@pytest.fixture
def apps(world: World) -> Apps:
    return Apps(world.database, world.changes, world.projects, world.clock, "ann")


@pytest.fixture
def serving(world: World) -> Serving:
    return Serving(world.database, world.changes, world.clock, world.secrets)


@pytest.fixture
def elsewhere(world: World) -> Apps:
    """Of a server that serves no app itself."""
    return Apps(world.database, world.changes, world.projects, world.clock, "ann", local=False)


async def test_a_new_app_is_pending_and_its_creator_known(apps: Apps) -> None:
    made = await apps.create(wire.asked(message()))
    told = wire.message(made, 30080, "o")
    assert (told.metadata.revision, told.metadata.id.org) == (1, "o")
    assert [int(c.deployment_status) for c in told.status.conditions] == [Deployment.PENDING]
    assert told.spec.HasField("ingress")  # the SDK asserts it
    assert told.spec.creator.user.id.subject == told.status.conditions[0].actor.user.id.subject == "ann"
    assert told.status.ingress.public_url == "http://localhost:30080/apps/p/development/a"
    assert told.status.ingress.cname_url == "http://a-p-development.localhost:30080"
    assert await apps.get(AppId("p", "development", "a")) == made
    with pytest.raises(AlreadyExists):
        await apps.create(wire.asked(message()))
    with pytest.raises(NotFound):
        await apps.create(wire.asked(message(project="nothing")))


@pytest.mark.parametrize(
    ("change", "revision", "status"),
    [
        (lambda m: None, 1, Deployment.ACTIVE),
        (lambda m: m.spec.creator.user.id.__setattr__("subject", "eve"), 1, Deployment.ACTIVE),
        (lambda m: m.metadata.labels.__setitem__("k", "v"), 2, Deployment.ACTIVE),
        (lambda m: m.spec.autoscaling.replicas.__setattr__("max", 3), 2, Deployment.ACTIVE),
        (lambda m: m.spec.container.args.append("more"), 2, Deployment.PENDING),
        (lambda m: m.spec.__setattr__("desired_state", STOPPED), 2, Deployment.ACTIVE),  # until its processes are gone
    ],
)
async def test_what_is_a_revision_and_what_begins_anew(
    apps: Apps, serving: Serving, change: Callable[[pb.App], None], revision: int, status: Deployment
) -> None:
    made = await apps.create(wire.asked(message()))
    await serving.report(made.key, 1, RUNNING)
    again = message()
    change(again)
    changed = await apps.update(wire.asked(again), "because")
    assert (changed.revision, changed.status.status) == (revision, status)


async def test_an_update_of_another_revision_than_the_last_is_aborted(apps: Apps) -> None:
    """Case O15: two that read the same revision cannot both change it."""
    await apps.create(wire.asked(message()))
    based = message("a", "mine")
    based.metadata.revision = 1
    await apps.update(wire.asked(based), "")
    based.spec.container.args.append("late")
    with pytest.raises(Aborted, match="revision 2, not at 1"):
        await apps.update(wire.asked(based), "")
    with pytest.raises(NotFound):
        await apps.update(wire.asked(message("missing")), "")


async def test_a_failed_app_that_is_updated_is_not_failed_any_more(apps: Apps, serving: Serving) -> None:
    """A client that watches right after its update must not see the failure of before."""
    made = await apps.create(wire.asked(message()))
    await serving.report(made.key, 1, Report(Deployment.FAILED, Substate.CRASH_LOOP, "it fell", 0))
    changed = await apps.update(wire.asked(message("a", timeouts=pb.TimeoutConfig())), "again")
    assert changed.status.status == Deployment.PENDING
    await serving.report(made.key, 1, RUNNING)  # late, and of a revision that is not the last
    assert (await apps.get(made.id)).status.status == Deployment.PENDING


async def test_apps_of_similar_names_have_hosts_of_their_own(apps: Apps, world: World) -> None:
    """Case O15: neither joined names nor capitals make two apps one."""
    made = [await apps.create(wire.asked(message(name))) for name in ("a", "A", "b-p", "b")]
    assert len({app.host for app in made}) == 4
    for app in made:
        assert (await apps.at(Address(host=app.host))).id == app.id
    asked = message("c", ingress=pb.IngressConfig(subdomain="a-p-development"))
    with pytest.raises(Conflict, match="subdomain of app p/development/a"):
        await apps.create(wire.asked(asked))


async def test_ports_that_apps_may_not_have(apps: Apps) -> None:
    asked = message()
    asked.spec.container.ports.add(container_port=9090)
    with pytest.raises(Invalid, match="9090"):
        wire.asked(asked)


async def test_lists(apps: Apps, serving: Serving) -> None:
    """Case O15: filters, sorts, pages and counts; upstream's list ignores all of them."""
    for number in range(5):
        await apps.create(wire.asked(message(f"a{number}", domain=("development", "staging")[number % 2])))
    await serving.report((await apps.get(AppId("p", "development", "a0"))).key, 1, RUNNING)

    async def names(scope: AppScope, *where: Where, **more: Any) -> tuple[list[str], int]:
        page, _, total = await apps.page(scope, Page(where=where, **more), counted=True)
        return [app.id.name for app in page], total

    assert await names(ALL) == (["a4", "a3", "a2", "a1", "a0"], 5)
    assert await names(ALL, order=(Order("name", descending=False),), limit=2) == (["a0", "a1"], 5)
    assert await names(AppScope(domain="staging")) == (["a3", "a1"], 2)
    active = Where("status_phase", pages.Test.EQUAL, ("DEPLOYMENT_STATUS_ACTIVE",))
    assert await names(ALL, active) == (["a0"], 1)
    either = Where("status_phase", pages.Test.VALUE_IN, ("DEPLOYMENT_STATUS_ACTIVE", "DEPLOYMENT_STATUS_PENDING"))
    assert (await names(ALL, either))[1] == 5
    assert (await names(ALL, Where("created_by", pages.Test.EQUAL, ("eve",))))[1] == 0
    assert (await names(AppScope(cluster="local")))[1] == 5
    first, token, _ = await apps.page(ALL, Page(limit=3), counted=False)
    await apps.create(wire.asked(message("new")))
    rest, end, _ = await apps.page(ALL, Page(limit=3, token=token), counted=False)
    assert [app.id.name for app in (*first, *rest)] == ["a4", "a3", "a2", "a1", "a0"]
    assert end == ""


async def test_lists_by_consumed_artifact(apps: Apps) -> None:
    asked = message()
    taken = asked.spec.inputs.items.add(name="model").artifact_id
    taken.version, taken.key.project, taken.key.domain, taken.key.name = "v1", "p", "development", "model"
    await apps.create(wire.asked(asked))
    await apps.create(wire.asked(message("b")))
    for name, version, count in (("model", "v1", 1), ("model", "", 1), ("model", "v", 0), ("mod", "", 0)):
        artifact = payload.ConsumedArtifactFilter(project="p", domain="development", name=name, version=version)
        found, _, total = await apps.page(wire.scope(payload.ListRequest(artifact=artifact)), Page(), counted=True)
        assert (len(found), total) == (count, count), (name, version)


async def _next(watch: AsyncIterator[Happened]) -> tuple[str, App]:
    async with asyncio.timeout(5):
        event = await anext(watch)
    kind = "deleted" if event.new is None else "created" if event.old is None else "updated"
    app = event.new or event.old
    assert app is not None
    return kind, app


async def test_a_watch_tells_a_snapshot_twice_and_then_what_happens(apps: Apps, serving: Serving) -> None:
    """Case O15: who watches just after the app became active hears of it, and nothing of its namesake elsewhere."""
    made = await apps.create(wire.asked(message()))
    await serving.report(made.key, 1, RUNNING)
    watch = apps.watch(AppScope("p", "development", "a"))
    kinds = [await _next(watch), await _next(watch)]
    assert [(kind, app.status.status) for kind, app in kinds] == [("created", 7), ("updated", 7)]
    await apps.create(wire.asked(message(domain="staging")))
    await apps.update(wire.asked(message(domain="staging", autoscaling=pb.AutoscalingConfig())), "")
    await apps.update(wire.asked(message("a", "other")), "")
    kind, app = await _next(watch)
    assert (kind, app.id.domain, app.revision, app.status.status) == ("updated", "development", 2, Deployment.PENDING)
    await apps.delete(made.id)
    await apps.delete(made.id)
    assert await _next(watch) == ("deleted", app)
    await apps.create(wire.asked(message()))
    kind, app = await _next(watch)
    assert (kind, app.revision) == ("created", 1)


@pytest.mark.parametrize(
    "scope", [ALL, AppScope(project="p"), AppScope(project="p", domain="staging"), AppScope(cluster="local")]
)
async def test_every_target_can_be_watched(apps: Apps, scope: AppScope) -> None:
    watch = apps.watch(scope)
    coming = asyncio.ensure_future(_next(watch))
    await asyncio.sleep(0)
    await apps.create(wire.asked(message("b", domain="staging")))
    kind, app = await coming
    assert (kind, app.id.name) == ("created", "b")


async def _leased(stream: AsyncIterator[list[App]]) -> list[str]:
    async with asyncio.timeout(5):
        return [app.id.name for app in await anext(stream)]


async def test_a_cluster_leases_apps_and_tells_of_them(elsewhere: Apps, world: World) -> None:
    pinned = await elsewhere.create(wire.asked(message("pinned", cluster="east")))
    assert (pinned.status.status, pinned.assigned) == (Deployment.UNASSIGNED, "")
    await elsewhere.create(wire.asked(message("free")))
    west = elsewhere.lease("west")
    assert await _leased(west) == ["free"]
    east = elsewhere.lease("east")
    assert await _leased(east) == ["pinned"]
    await elsewhere.create(wire.asked(message("late", cluster="west")))
    assert await _leased(west) == ["late"]

    told = await elsewhere.update_status(pinned.id, 1, "east", RUNNING)
    assert (told.status.status, told.replicas, told.assigned) == (Deployment.ACTIVE, 1, "east")
    with pytest.raises(Conflict, match="not leased to cluster 'west'"):
        await elsewhere.update_status(pinned.id, 1, "west", RUNNING)
    with pytest.raises(Aborted):
        await elsewhere.update_status(pinned.id, 7, "east", RUNNING)


async def test_a_lease_that_runs_out_without_a_word_is_anothers(elsewhere: Apps, world: World) -> None:
    await elsewhere.create(wire.asked(message()))
    assert await _leased(elsewhere.lease("silent")) == ["a"]
    assert await _leased(elsewhere.lease("other")) == []
    world.clock.now += timedelta(minutes=2)
    assert await _leased(elsewhere.lease("other")) == ["a"]
    assert [c.status for c in (await elsewhere.get(AppId("p", "development", "a"))).conditions] == [1, 2, 2]


async def test_what_this_server_serves_nobody_else_tells_of(apps: Apps) -> None:
    made = await apps.create(wire.asked(message()))
    with pytest.raises(Conflict, match="served by this server"):
        await apps.update_status(made.id, 1, "local", RUNNING)
    with pytest.raises(Invalid):
        await anext(apps.lease("local"))


async def test_old_replicas_are_forgotten(apps: Apps, serving: Serving) -> None:
    made = await apps.create(wire.asked(message()))
    gone: list[str] = []
    for number in range(25):
        gone += await serving.start_replica(made, f"a-{number}")
        await serving.end_replica(made.key, f"a-{number}")
    assert gone == [f"a-{number}" for number in range(4)]
    kept = await anext(serving.replicas(made.key))
    assert [replica.name for replica in kept] == [f"a-{number}" for number in range(4, 25)]


@pytest.mark.parametrize("as_pod", [False, True])
async def test_what_an_app_asks_for_is_what_its_processes_may_not_exceed(apps: Apps, as_pod: bool) -> None:
    asked = message()
    if as_pod:
        container: dict[str, Any] = {
            "name": "app",
            "args": ["serve"],
            "resources": {"requests": {"memory": "256Mi", "cpu": 1}},
        }
        asked.spec.pod.pod_spec.update({"containers": [container]})
    else:
        asked.spec.container.resources.requests.add(name=tasks_pb2.Resources.MEMORY, value="256Mi")
        asked.spec.container.resources.requests.add(name=tasks_pb2.Resources.CPU, value="1")
    made = await apps.create(wire.asked(asked))
    ready = wire.launch(made, "a-1", 4000, wire.Place({}, 30080, "s3://x/apps"), {})
    assert (ready.resources.requests.memory, ready.resources.requests.cpu) == (256 * 2**20, 1)
    assert (ready.resources.limits.memory, ready.resources.limits.cpu) == (256 * 2**20, 0)


async def test_an_app_that_asks_for_no_quantity_is_refused(apps: Apps) -> None:
    asked = message()
    asked.spec.container.resources.limits.add(name=tasks_pb2.Resources.MEMORY, value="a lot")
    made = await apps.create(wire.asked(asked))
    with pytest.raises(LaunchRefused, match="a lot"):
        wire.launch(made, "a-1", 4000, wire.Place({}, 30080, "s3://x/apps"), {})
