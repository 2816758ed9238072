"""What the Manager does next: every situation that an attempt may be in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alula.core.taskaction import Cause, Pod, Stage, State
from alula.kube.objects import Busy, Conflict, Exists, KubeError, NotFound, Object, Refused
from alula.manager.plugins.base import Seen
from alula.manager.step import (
    SETTLE,
    Ask,
    Create,
    Delete,
    Known,
    Launching,
    Report,
    Retry,
    Step,
    Tried,
    Wait,
    after_create,
    launched,
    merged,
    next_step,
    unknown_type,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=1), NOW + timedelta(minutes=1)
BAD = Cause("BadTaskSpecification", "no container", recoverable=False)
PODS = (Pod("p", "work"),)

QUEUED, WAITING = State(), State(Stage.WAITING, "exceeded quota")
LAUNCHING = State(Stage.INITIALIZING, "its object is being created")
PULLING = State(Stage.INITIALIZING, "pulling", pods=PODS)
UNPLACED = State(Stage.WAITING, "0/3 nodes are available", pods=PODS)
RUNNING = State(Stage.RUNNING, pods=PODS)
DONE = State(Stage.SUCCEEDED, pods=PODS)
DEAD = State(Stage.FAILED, "x", Cause("ContainerFailed", "x"), pods=PODS)


def thing(uid: str = "mine", kind: str = "TaskAction", **meta: Any) -> Object:
    owner = {"controller": True, "uid": uid, "kind": kind}
    return {"kind": "Pod", "metadata": {"name": "a.1", "ownerReferences": [owner] if uid else [], **meta}}


OURS, LEFT, FOREIGN = thing(), thing("dead"), thing("other", "Job")
LEAVING = {"deletionTimestamp": "2026-01-02T03:04:05Z"}
_SAID = "there is another Pod named a.1: it has to go first"


def known(state: State, tried: Tried = Tried.NOTHING, found: Object | None = None, **more: Any) -> Known:
    return Known("mine", state, tried=tried, found=found, **more)


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        # Launching is recorded before the create, and only who recorded it creates.
        (known(QUEUED), Launching(LAUNCHING)),
        (known(WAITING), Launching(LAUNCHING)),
        (known(LAUNCHING, Tried.RECORDED), Create()),
        (known(QUEUED, Tried.RECORDED), Launching(LAUNCHING)),  # the record was refused: once more
        # Another Manager recorded it and died, before or after the create.
        (known(LAUNCHING), Ask()),
        (known(LAUNCHING, asked=True), "ResourceDeletedExternally"),
        # A create had no answer.
        (known(LAUNCHING, Tried.UNSURE), Ask()),
        (known(LAUNCHING, Tried.UNSURE, asked=True), "ResourceDeletedExternally"),
        # It was created, and is gone.
        (known(LAUNCHING, Tried.CREATED), Ask()),
        (known(RUNNING, Tried.CREATED), Ask()),
        (known(RUNNING), Ask()),
        (known(RUNNING, asked=True), "ResourceDeletedExternally"),
        (known(PULLING, Tried.RECORDED), Ask()),
        (known(UNPLACED), Ask()),
        (known(UNPLACED, asked=True), "ResourceDeletedExternally"),
        # Something else has its name.
        (known(LAUNCHING, Tried.UNSURE, FOREIGN, asked=True), Retry(State(Stage.WAITING, _SAID))),
        (known(LAUNCHING, Tried.UNSURE, thing("", ""), asked=True), Retry(State(Stage.WAITING, _SAID))),
        (known(LAUNCHING, found=thing("dead", **LEAVING)), Retry(State(Stage.WAITING, _SAID))),
        (known(LAUNCHING, found=LEFT), Delete()),
        (known(QUEUED, found=LEFT), Delete()),
        (known(RUNNING, found=FOREIGN, asked=True), Retry()),
        (known(State(Stage.WAITING, _SAID), found=FOREIGN, asked=True), Retry()),
        # It is over: nothing more.
        (known(DONE), Wait()),
        (known(DEAD), Wait()),
        (known(DONE, found=FOREIGN), Wait()),
        # The TaskAction is deleted.
        (known(RUNNING, found=OURS, going=True), Delete()),
        (known(DONE, found=OURS, going=True), Delete()),
        (known(RUNNING, found=thing(**LEAVING), going=True), Wait()),
        (known(RUNNING, found=FOREIGN, going=True), Wait()),
        (known(QUEUED, going=True), Wait()),
        (known(LAUNCHING, Tried.RECORDED, going=True), Wait()),
    ],
)
def test_without_an_object_of_its_own(situation: Known, expected: Step | str) -> None:
    step = next_step(situation, None, None, NOW)
    if isinstance(expected, str):
        assert isinstance(step, Report)
        assert step.state.stage is Stage.FAILED
        assert step.state.cause is not None
        assert step.state.cause.system
        assert (step.state.cause.code, step.state.ended_at, step.state.pods) == (expected, NOW, situation.state.pods)
    else:
        assert step == expected


@pytest.mark.parametrize(
    ("situation", "seen", "expected"),
    [
        # What matters is told at once.
        (known(LAUNCHING, found=OURS, since=NOW), Seen(RUNNING), Report(RUNNING)),
        (known(RUNNING, found=OURS, since=NOW), Seen(DONE), Report(DONE)),
        (known(LAUNCHING, found=OURS, since=NOW), Seen(DONE), Report(DONE)),
        (known(PULLING, found=OURS, since=NOW), Seen(DEAD), Report(DEAD)),
        (known(LAUNCHING, Tried.UNSURE, OURS, asked=True, since=NOW), Seen(RUNNING), Report(RUNNING)),
        # What may pass is told when it stays.
        (known(LAUNCHING, found=OURS, since=NOW), Seen(PULLING), Wait(NOW + SETTLE)),
        (known(LAUNCHING, found=OURS, since=NOW), Seen(PULLING, SOON), Wait(SOON)),
        (known(LAUNCHING, found=OURS, since=NOW - SETTLE), Seen(PULLING), Report(PULLING)),
        (known(PULLING, found=OURS, since=NOW - SETTLE), Seen(UNPLACED), Report(UNPLACED)),
        (known(RUNNING, found=OURS, since=NOW), Seen(replace(RUNNING, reason="slow")), Wait(NOW + SETTLE)),
        # What is told already is not told again.
        (known(PULLING, found=OURS, since=NOW - SETTLE), Seen(PULLING, LATER), Wait(LATER)),
        (known(RUNNING, found=OURS, since=NOW - SETTLE), Seen(RUNNING), Wait()),
        # It stays launched, though its object has no pods yet.
        (known(LAUNCHING, found=OURS, since=NOW - SETTLE), Seen(State(reason="its object is being created")), Wait()),
        # The end stands. What begins to run after it was told is ended, if it is still so.
        (known(DONE, found=OURS), Seen(RUNNING), Wait()),
        (known(DEAD, found=OURS), Seen(DEAD), Wait()),
        (known(DEAD, found=OURS), Seen(RUNNING), Ask()),
        (known(DEAD, found=OURS, asked=True), Seen(RUNNING), Delete()),
        (known(DEAD, found=thing(**LEAVING), asked=True), Seen(RUNNING), Wait()),
    ],
)
def test_with_its_object(situation: Known, seen: Seen, expected: Step) -> None:
    assert next_step(situation, seen, None, NOW) == expected


@pytest.mark.parametrize("state", [QUEUED, LAUNCHING, RUNNING])
def test_what_cannot_be_made_fails(state: State) -> None:
    step = next_step(known(state), None, BAD, NOW)
    assert step == Report(replace(state, stage=Stage.FAILED, reason=BAD.message, cause=BAD, ended_at=NOW))
    assert next_step(known(DONE), None, BAD, NOW) == Wait()


def test_an_unknown_type_says_which_there_are() -> None:
    cause = unknown_type("ray", ["spark", "python"])
    assert cause.code == "PluginNotFound"
    assert cause.message == "no plugin of this cluster runs tasks of type 'ray'; it knows python, spark"
    assert not cause.system
    assert not cause.recoverable


FULL = 'pods "a.1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3'


@pytest.mark.parametrize(
    ("error", "tried", "expected"),
    [
        (Exists("there is one", "AlreadyExists"), Tried.RECORDED, Ask()),
        (Conflict("the quota has changed", "Conflict"), Tried.RECORDED, Retry()),
        (Busy("too many requests", "TooManyRequests", 1.0), Tried.RECORDED, Retry(after=1.0)),
        (Busy("a webhook failed", "InternalError"), Tried.RECORDED, Retry()),
        (Busy("etcdserver: request timed out", "InternalError"), Tried.UNSURE, Retry()),
        (Busy("the cluster does not answer: ReadTimeout"), Tried.UNSURE, Retry()),
        (Busy("it took too long", "Timeout"), Tried.UNSURE, Retry()),
        (Refused("unauthorized", "Unauthorized"), Tried.RECORDED, Retry()),
        (Refused(FULL, "Forbidden"), Tried.NOTHING, Retry(State(Stage.WAITING, FULL))),
        (Refused("admission webhook denied the request", "BadRequest"), Tried.NOTHING, "BadRequest"),
        (Refused("denied", ""), Tried.NOTHING, "BadRequest"),
        (Refused("spec.x: required", "Invalid"), Tried.NOTHING, "InvalidResource"),
        (Refused("too large", "RequestEntityTooLarge"), Tried.NOTHING, "EntityTooLarge"),
        (Refused("may not create", "Forbidden"), Tried.NOTHING, "Forbidden"),
        (NotFound("could not find the requested resource", "NotFound"), Tried.NOTHING, "PluginNotFound"),
    ],
)
def test_a_create_that_failed(error: KubeError, tried: Tried, expected: Step | str) -> None:
    found, step = after_create(LAUNCHING, error, NOW)
    assert found is tried
    if isinstance(expected, str):
        assert isinstance(step, Report)
        assert step.state.cause is not None
        assert (step.state.cause.code, step.state.cause.system) == (expected, False)
        assert str(error) in step.state.cause.message
        assert not step.state.cause.recoverable
    else:
        assert step == expected


def test_a_quota_takes_the_launch_back_and_a_crash_then_loses_nothing() -> None:
    _, step = after_create(LAUNCHING, Refused(FULL, "Forbidden"), NOW)
    assert isinstance(step, Retry)
    assert step.report is not None
    assert not launched(step.report)
    assert next_step(known(step.report), None, None, NOW) == Launching(LAUNCHING)


@pytest.mark.parametrize(
    ("state", "seen", "expected"),
    [
        (LAUNCHING, QUEUED, replace(QUEUED, stage=Stage.INITIALIZING)),
        (LAUNCHING, UNPLACED, UNPLACED),
        (RUNNING, PULLING, replace(PULLING, stage=Stage.RUNNING)),
        (RUNNING, DONE, DONE),
        (replace(RUNNING, started_at=NOW), replace(RUNNING, pods=()), replace(RUNNING, started_at=NOW)),
        (replace(RUNNING, notes=("a",)), replace(RUNNING, notes=("a", "b")), replace(RUNNING, notes=("a", "b"))),
        (replace(RUNNING, notes=("a",)), replace(RUNNING, notes=("b",)), replace(RUNNING, notes=("a", "b"))),
    ],
)
def test_a_status_keeps_what_was_true(state: State, seen: State, expected: State) -> None:
    assert merged(state, seen) == expected
