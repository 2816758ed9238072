"""What a TaskAction shows, and what the log of a pod says: pure."""

from datetime import UTC, datetime, timedelta

import pytest

from alula.core.launch import Presence
from alula.core.taskaction import Cause, Container, Link, Pod, Stage, State
from alula.core.taskstatus import status
from alula.executors.cluster.podlogs import Source, sources
from alula.executors.cluster.sight import observation, slim, state_of
from alula.kube.objects import Name, Object

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
POD = Pod("p", "flyte", (Container("main", started_at=NOW),), "main")


def found(state: State | None, **meta: str) -> Object:
    return {
        "metadata": {"name": "a", "namespace": "flyte", "uid": "u", **meta},
        "spec": {"taskTemplate": "aGVsbG8="},
        "status": {} if state is None else status({}, state, 1, NOW),
    }


@pytest.mark.parametrize(
    ("state", "presence"),
    [
        (None, Presence.ACCEPTED),
        (State(Stage.QUEUED), Presence.ACCEPTED),
        (State(Stage.INITIALIZING), Presence.ACCEPTED),
        (State(Stage.WAITING), Presence.WAITING),
        (State(Stage.QUEUED, pods=(POD,)), Presence.WAITING),
        (State(Stage.INITIALIZING, pods=(POD,)), Presence.STARTING),
        (State(Stage.RUNNING, pods=(POD,)), Presence.RUNNING),
        (State(Stage.SUCCEEDED, pods=(POD,)), Presence.EXITED),
        (State(Stage.FAILED, cause=Cause("E", "no")), Presence.EXITED),
    ],
)
def test_where_an_attempt_is(state: State | None, presence: Presence) -> None:
    assert observation(found(state), "east").presence is presence


def test_all_that_is_seen() -> None:
    link, cause = Link("Logs", "https://x"), Cause("OOMKilled", "too little")
    state = State(
        Stage.FAILED,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=1),
        exit_code=137,
        cause=cause,
        links=(link,),
        notes=("pulled the image", "pulled the image"),
    )
    seen = observation(found(state), "east")
    assert (seen.started_at, seen.ended_at, seen.exit_code) == (NOW, NOW + timedelta(seconds=1), 137)
    assert (seen.cause, seen.out_of_memory, seen.links, seen.cluster) == (cause, True, (link,), "east")
    assert seen.notes == ("pulled the image",)


def test_what_it_waits_for_is_told() -> None:
    assert observation(found(State(Stage.WAITING, "exceeded quota: pods=10")), "east").notes == (
        "exceeded quota: pods=10",
    )


def test_who_deletes_a_task_action_ends_its_attempt() -> None:
    gone = "2026-03-04T05:06:07Z"
    seen = observation(found(State(Stage.RUNNING, pods=(POD,)), deletionTimestamp=gone), "east")
    assert seen.presence is Presence.EXITED
    assert seen.cause is not None
    assert (seen.cause.code, seen.cause.system) == ("ResourceDeletedExternally", True)
    over = observation(found(State(Stage.SUCCEEDED), deletionTimestamp=gone), "east")
    assert (over.presence, over.cause, over.exit_code) == (Presence.EXITED, None, 0)


def test_what_is_kept_of_it() -> None:
    kept = slim(found(State(Stage.RUNNING, pods=(POD,))))
    assert "spec" not in kept
    assert state_of(kept).pods == (POD,)


# Logs


def test_whose_logs_are_read() -> None:
    init = Container("init", init=True, started_at=NOW)
    waits, side = Container("waits"), Container("side", started_at=NOW)
    one = Pod("p", "ns", (init, side, waits, Container("main", started_at=NOW)), "main")
    name = Name("ns", "p")
    assert list(sources(State(pods=(one,)))) == [
        Source(name, "main", ""),
        Source(name, "init", "[init] "),
        Source(name, "side", "[side] "),
    ]
    other = Pod("q", "ns", (Container("main", started_at=NOW),), "")
    assert [source.prefix for source in sources(State(pods=(one, other)))] == [
        "[p/main] ",
        "[p/init] ",
        "[p/side] ",
        "[q/main] ",
    ]
