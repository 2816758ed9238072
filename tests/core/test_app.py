"""How many replicas, when again, what is said, and what apps are called: all of it as tables."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alula.core.app import (
    AppId,
    Condition,
    Deployment,
    Desired,
    Load,
    Scaling,
    Substate,
    View,
    appended,
    backoff,
    ended,
    host_label,
    needed,
    verdict,
    wanted,
    with_port,
)
from alula.core.ingress import Address, address, friendly, location, public_url

NOW = datetime(2026, 1, 2, tzinfo=UTC)
D, A, F = Deployment.DEPLOYING, Deployment.ACTIVE, Deployment.FAILED


@pytest.mark.parametrize(
    ("words", "declared", "after"),
    [
        (["python", "-m", "http.server", "8080"], 8080, ["python", "-m", "http.server", "4711"]),
        (["u", "--port=8080", "--bind", "0.0.0.0:8080"], 8080, ["u", "--port=4711", "--bind", "0.0.0.0:4711"]),
        (["serve", "18080", "80801", "size8080", "a/8080"], 8080, ["serve", "18080", "80801", "size8080", "a/8080"]),
        (["serve", "0", ""], 0, ["serve", "0", ""]),
    ],
)  # fmt: skip
def test_each_process_gets_a_port_of_its_own(words: list[str], declared: int, after: list[str]) -> None:
    assert with_port(words, declared, 4711) == tuple(after)


@pytest.mark.parametrize(
    ("app", "subdomain", "taken", "label"),
    [
        (AppId("p", "d", "a"), "", False, "a-p-d"),
        (AppId("My_Project", "d", "App"), "", False, "app-my-project-d"),
        (AppId("p", "d", "a"), "mine", False, "mine"),
        (AppId("p" * 63, "development", "a"), "", False, "a-" + "p" * 52 + "-"),
        (AppId("p", "d", "a"), "", True, "a-p-d-"),
    ],
)
def test_the_name_of_an_app_in_urls(app: AppId, subdomain: str, taken: bool, label: str) -> None:
    made = host_label(app, subdomain, taken=taken)
    assert made == label or (made.startswith(label) and len(made) in (63, len(label) + 8))


def test_names_that_look_the_same_joined_are_told_apart() -> None:
    """Case O15: ("a-b", "c") and ("a", "b-c") are two apps."""
    one, two = AppId("b", "d", "a-b"), AppId("b-b", "d", "a")
    assert host_label(one) == host_label(two)
    assert host_label(one, taken=True) != host_label(two, taken=True)


@pytest.mark.parametrize(
    ("scaling", "load", "count"),
    [
        (Scaling(), Load(), 0),
        (Scaling(), Load(open=1), 1),
        (Scaling(), Load(open=101), 2),
        (Scaling(concurrency=3), Load(open=3), 1),
        (Scaling(concurrency=3), Load(open=7), 3),
        (Scaling(rate=10), Load(open=0, rate=25.0), 3),
        (Scaling(rate=10, concurrency=1), Load(open=5, rate=1.0), 5),
    ],
)
def test_what_a_load_needs(scaling: Scaling, load: Load, count: int) -> None:
    assert needed(scaling, load) == count


@pytest.mark.parametrize(
    ("scaling", "needed_at", "count"),
    [
        (Scaling(0, 1), {}, 0),
        (Scaling(2, 5), {}, 2),
        (Scaling(0, 3, idle=10), {1: 95.0}, 1),
        (Scaling(0, 3, idle=10), {1: 90.0}, 0),  # exactly the period
        (Scaling(0, 3, idle=10), {3: 91.0, 1: 99.0}, 3),  # the most that the period has seen
        (Scaling(0, 3, idle=10), {9: 99.0}, 3),
        (Scaling(1, 3, idle=10), {2: 10.0}, 1),
    ],
)
def test_how_many_an_app_is_to_have(scaling: Scaling, needed_at: dict[int, float], count: int) -> None:
    assert wanted(scaling, needed_at, 100.0) == count


def test_crashes_are_answered_more_and_more_slowly() -> None:
    waits = [backoff(n) for n in range(12)]
    assert waits[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert waits == sorted(waits)
    assert backoff(10_000) == waits[-1] == 60.0


ON = View(Desired.ACTIVE, wanted=1)
OFF = View(Desired.STOPPED, wanted=0)


@pytest.mark.parametrize(
    ("view", "status", "substate"),
    [
        (replace(ON, starting=1), D, Substate.INITIALIZING),
        (replace(ON, starting=1, proven=True), A, Substate.SCALING_FROM_ZERO),
        (replace(ON, ready=1), A, Substate.RUNNING),
        (replace(ON, ready=1, wanted=2), A, Substate.SCALING_UP),
        (replace(ON, ready=1, crashes=9), A, Substate.RUNNING),
        (replace(ON, wanted=0), A, Substate.SCALED_TO_ZERO),
        (replace(ON, crashes=1), D, Substate.INITIALIZING),
        (replace(ON, crashes=1, proven=True), D, Substate.INITIALIZING),
        (replace(ON, crashes=3), F, Substate.CRASH_LOOP),
        (replace(ON, crashes=3, oom=True), F, Substate.OOM_KILLED),
        (replace(ON, crashes=1, wanted=0), F, Substate.CRASH_LOOP),
        (replace(ON, refused="BadTaskSpecification"), F, Substate.NONE),
        (replace(ON, refused="SecretNotFound"), F, Substate.SECRET_MOUNT_ERROR),
        (OFF, Deployment.STOPPED, Substate.NONE),
        (replace(OFF, crashes=3, refused="x"), Deployment.STOPPED, Substate.NONE),
    ],
)
def test_what_is_said_of_an_app(view: View, status: Deployment, substate: Substate) -> None:
    said = verdict(replace(view, trouble="why"))
    assert said is not None
    assert said[:2] == (status, substate)
    assert (said[2] == "why") == (status is F or (status is D and view.crashes > 0) or said[2] == "why")


@pytest.mark.parametrize("process", ["ready", "starting", "leaving"])
def test_an_app_is_stopped_when_nothing_of_it_is_left(process: str) -> None:
    assert verdict(replace(OFF, **{process: 1})) is None  # type: ignore[arg-type]


def test_conditions_are_numbered_and_the_oldest_forgotten() -> None:
    said: tuple[Condition, ...] = ()
    for number in range(30):
        said = appended(said, Condition(A, 0, str(number), NOW))
    assert [c.message for c in said] == [str(n) for n in range(10, 30)]
    assert [c.revision for c in said] == list(range(11, 31))


def test_a_port_in_use_is_named_as_the_reason() -> None:
    told = ended("exit code 1", "OSError: [Errno 98] Address already in use\n", 8080)
    assert told.startswith("exit code 1; a port that it wants is in use")
    assert "8080" in told
    assert "PORT" not in ended("exit code 1", "ValueError\n", 8080)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("localhost:80", "/apps/p/d/a", Address(app=AppId("p", "d", "a"), prefix="/apps/p/d/a")),
        ("localhost:80", "/apps/p/d/a/x/y", Address(app=AppId("p", "d", "a"), prefix="/apps/p/d/a")),
        ("localhost", "/apps/p%20q/d/a", Address(app=AppId("p q", "d", "a"), prefix="/apps/p%20q/d/a")),
        ("A-P-D.localhost:80", "/apps/p/d/a", Address(host="a-p-d")),
        ("localhost", "/apps/p/d", None),
        ("localhost", "/apps/p//a", None),
        ("localhost", "/alula/apps/p/d/a", None),
        ("evil.example", "/", None),
        ("localhost.evil.example", "/", None),
        ("", "/", None),
    ],
)
def test_which_requests_are_for_apps(host: str, path: str, found: Address | None) -> None:
    assert address(host, path) == found


def test_a_url_leads_back_to_its_app() -> None:
    app = AppId("p/q", "d", "a")
    path = public_url(app, 80).removeprefix("http://localhost:80")
    found = address("localhost:80", path)
    assert found is not None
    assert found.app == app


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("http://localhost:30080", True),
        ("http://a-p-d.localhost:30080", True),
        ("http://[::1]:30080", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
    ],
)
def test_whose_pages_may_call_apps(origin: str, may: bool) -> None:
    assert friendly(origin) is may


@pytest.mark.parametrize(
    ("value", "prefix", "after"),
    [
        ("/login?next=/", "/apps/p/d/a", "/apps/p/d/a/login?next=/"),
        ("/apps/p/d/a/login", "/apps/p/d/a", "/apps/p/d/a/login"),
        ("http://localhost:80/login", "/apps/p/d/a", "http://localhost:80/apps/p/d/a/login"),
        ("https://elsewhere.example/login", "/apps/p/d/a", "https://elsewhere.example/login"),
        ("//elsewhere.example/login", "/apps/p/d/a", "//elsewhere.example/login"),
        ("login", "/apps/p/d/a", "login"),
        ("/login", "", "/login"),
    ],
)
def test_redirects_of_an_app_stay_within_its_prefix(value: str, prefix: str, after: str) -> None:
    assert location(value, prefix, "localhost:80") == after
