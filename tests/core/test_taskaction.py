"""TaskActions, both ways: what is written is read back as it was, in a form that a cluster takes."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, get_type_hints

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, MANAGED, SHARD, SHARDS, Cause, Container, Link, Pod, Request, Stage, State
from alula.core.taskspec import labels, manifest, read_request, shard
from alula.core.taskstatus import HANDLE, read_state, status
from alula.manager.crds import text as crd_text

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
REQUEST = Request("r1-a0.0123456789ab.1", "flytesnacks", "development", "r1", "a0", 1, "python")

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_names = st.text("abcxyz0189", min_size=1, max_size=20).map("n".__add__)
_keys = st.builds("{}{}".format, st.sampled_from(["", "a.b/", "team/"]), _names)
_times = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
_requests = st.builds(
    Request,
    name=_names.map("{}.0123456789ab.1".format),
    project=_names,
    domain=_names,
    run=_names,
    action=_names,
    attempt=st.integers(1, 1000),
    task_type=_names,
    template=st.binary(max_size=50),
    template_uri=_texts,
    template_digest=_texts,
    parent=st.just("") | _names,
    short_name=_texts,
    group=_texts,
    queue=_texts,
    env=st.dictionaries(_names, _texts, max_size=3),
    secret=_texts,
    secret_env=st.lists(_names, max_size=3).map(tuple),
    secret_files=st.dictionaries(_names, _names, max_size=3),
    secret_refs=st.dictionaries(_names, _names, max_size=3),
    input_uri=_texts,
    output_uri=_texts,
    run_base=_texts,
    raw_uri=_texts,
    cache_key=_texts,
    interruptible=st.booleans(),
    last=st.booleans(),
    max_attempts=st.integers(1, 100),
    service_account=_texts,
    grace=st.integers(0, 3600).map(float),
    labels=st.dictionaries(_keys, _texts, max_size=3),
    annotations=st.dictionaries(_keys, _texts, max_size=3),
    owner=st.just("") | _names,
    run_key=st.none() | st.integers(0, 2**60),
)
_containers = st.builds(
    Container, name=_names, init=st.booleans(), started_at=st.none() | _times, ended_at=st.none() | _times
)
_states = st.builds(
    State,
    stage=st.sampled_from(Stage),
    reason=_texts,
    cause=st.none() | st.builds(Cause, _texts, _texts, st.booleans(), st.booleans()),
    started_at=st.none() | _times,
    ended_at=st.none() | _times,
    exit_code=st.none() | st.integers(0, 255),
    pods=st.lists(
        st.builds(Pod, _names, _names, st.lists(_containers, max_size=3).map(tuple), st.just("") | _names), max_size=3
    ).map(tuple),
    links=st.lists(st.builds(Link, _texts, _texts), max_size=3).map(tuple),
    notes=st.lists(_texts, max_size=3).map(tuple),
    handle=st.binary(max_size=50),
)


@lru_cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(crd_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return _closed(found)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, with what it does not name forbidden: a cluster would drop it without a word."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {key: _closed(value) for key, value in made["properties"].items()}
        made["additionalProperties"] = False
    if "items" in made:
        made["items"] = _closed(made["items"])
    return made


def check(found: dict[str, Any]) -> None:
    """Whether a cluster takes it and keeps all of it. Its metadata are not a matter of the schema."""
    body = {key: value for key, value in found.items() if key != "metadata"}
    jsonschema.validate(json.loads(json.dumps(body)), _schema())


@given(_requests)
@settings(max_examples=60, deadline=None)
def test_a_request_is_read_as_it_was_written(request: Request) -> None:
    made = manifest(request, "flyte")
    check(made)
    assert read_request(json.loads(json.dumps(made))) == request


@given(_states)
@settings(max_examples=60, deadline=None)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    made = status({}, state, 1, NOW)
    check(manifest(REQUEST, "flyte") | {"status": made})
    assert read_state(json.loads(json.dumps(made))) == state


@given(_states, _states)
@settings(max_examples=30, deadline=None)
def test_the_same_state_again_changes_nothing(first: State, second: State) -> None:
    before = status(status({}, first, 1, NOW), second, 1, NOW + timedelta(seconds=1))
    assert status(before, second, 1, NOW + timedelta(hours=1)) == before


def test_every_field_of_a_request_is_written() -> None:
    values: dict[Any, Any] = {
        bytes: b"t",
        float: 7.5,
        bool: True,
        int: 7,
        int | None: 7,
        str: "x",
        Sequence[str]: ("X",),
    }
    hints = get_type_hints(Request)
    written = Request(**{one.name: values.get(hints[one.name], {"x": "y"}) for one in fields(Request)})
    assert read_request(manifest(written, "flyte")) == written


def test_no_status_yet() -> None:
    assert read_state({}) is None


@pytest.mark.parametrize("missing", ["project", "runName", "attempt", "taskType"])
def test_what_is_no_attempt_of_ours_is_told(missing: str) -> None:
    made = manifest(REQUEST, "flyte")
    del made["spec"][missing]
    with pytest.raises(ValueError, match="not complete"):
        read_request(made)


def test_the_story_of_an_attempt() -> None:
    """Upstream's conditions in upstream's words, and each phase once."""
    said: dict[str, Any] = {}
    for second, state in enumerate(
        [
            State(Stage.QUEUED),
            State(Stage.WAITING, "exceeded quota"),
            State(Stage.WAITING, "exceeded quota: pods=10"),
            State(Stage.INITIALIZING),
            State(Stage.RUNNING),
            State(Stage.FAILED, cause=Cause("OOMKilled", "it took 2 GiB", recoverable=False), exit_code=137),
        ]
    ):
        said = status(said, state, 2, NOW + timedelta(seconds=second))
    assert [one["phase"] for one in said["phaseHistory"]] == [
        "Queued",
        "WaitingForResources",
        "Initializing",
        "Executing",
        "PermanentFailure",
    ]
    assert [one["occurredAt"] for one in said["phaseHistory"]][-1] == "2026-03-04T05:06:12.890123Z"
    progressing, failed = said["conditions"]
    assert (progressing["type"], progressing["status"], progressing["reason"]) == (
        "Progressing",
        "False",
        "PermanentFailure",
    )
    assert progressing["lastTransitionTime"] == "2026-03-04T05:06:12Z"
    assert (failed["type"], failed["status"], failed["message"]) == ("Failed", "True", "it took 2 GiB")
    assert said["errorState"] == {"code": "OOMKilled", "kind": "USER", "message": "it took 2 GiB"}
    assert (said["attempts"], said["pluginPhase"], said["exitCode"]) == (2, "PermanentFailure", 137)


def test_a_condition_keeps_its_time_while_it_holds() -> None:
    first = status({}, State(Stage.INITIALIZING), 1, NOW)
    later = status(first, State(Stage.RUNNING), 1, NOW + timedelta(minutes=1))
    assert later["conditions"][0]["lastTransitionTime"] == first["conditions"][0]["lastTransitionTime"]
    assert later["conditions"][0]["reason"] == "Executing"


@pytest.mark.parametrize("character", ["x", "é", "𝄞", "\ud800"])
def test_no_status_is_too_large(character: str) -> None:
    """Whatever a cluster tells: it fits the schema and, with a large template, etcd (1.5 MiB)."""
    text = character * 40_000
    long = "n" * 253
    state = State(
        Stage.FAILED,
        reason=text,
        cause=Cause(text, text),
        pods=tuple(Pod(long, long, (Container("c" * 63, True, NOW, NOW),) * 50, "c" * 63) for _ in range(120)),
        links=(Link(text, "https://x"), Link("long", "https://" + "x" * 3000)) * 50,
        notes=(text,) * 60,
        handle=b"h" * HANDLE,
    )
    said = status({}, state, 1, NOW)
    for _ in range(30):
        said = status(said, replace(state, stage=Stage.RUNNING, cause=None), 1, NOW)
        said = status(said, state, 1, NOW)
    check(manifest(REQUEST, "flyte") | {"status": said})
    assert len(json.dumps(said, ensure_ascii=False).encode()) < 1_000_000
    assert "[...]" in said["errorState"]["message"]
    read = read_state(said)
    assert read is not None
    assert len(read.links) == 25, "half an address leads nowhere"
    assert status(said, state, 1, NOW + timedelta(hours=1)) == said


def test_labels() -> None:
    told = manifest(
        replace(REQUEST, labels={"team": "a b/c", "flyte.org/run": "other", "no good": "x"}, run_key=7, owner="me"),
        "flyte",
    )
    assert told["metadata"]["namespace"] == "flyte"
    found = told["metadata"]["labels"]
    assert found == {
        "team": "a-b-c",
        "flyte.org/project": "flytesnacks",
        "flyte.org/domain": "development",
        "flyte.org/run": "r1",
        "flyte.org/action": "a0",
        "flyte.org/action-type": "task",
        "flyte.org/is-root": "true",
        "flyte.org/control-plane": "me",
        "flyte.org/run-key": "7",
        ATTEMPT: REQUEST.name,
        MANAGED: "true",
        SHARD: shard("flytesnacks", "development", "r1"),
    }
    child = replace(REQUEST, name="x" * 70 + ".0123456789ab.1", parent="a0")
    assert labels(child)[ATTEMPT] == attempt_label(child.name)
    assert labels(child)["flyte.org/is-root"] == "false"


def test_shards_are_the_same_for_ever_and_spread() -> None:
    assert shard("flytesnacks", "development", "r1") == "0"
    found = {shard("p", "d", f"r{number}") for number in range(1000)}
    assert found == {str(number) for number in range(SHARDS)}
