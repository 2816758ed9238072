"""The SDK's own programs on a cluster: TaskActions, the Manager, and pods whose containers are processes here."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .site import Site, on_a_cluster, soon, user_of
from .user import Told, User

pytestmark = pytest.mark.timeout(300)  # the first test waits for all programs
RUNS = ("hello", "fan", "mapped", "files", "flaky", "killed", "catches", "reused", "aborted")


@pytest.fixture(scope="module", params=["memory", "real"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all of these tests."""
    real = request.getfixturevalue("real_kubeconfig") if request.param == "real" else None
    with on_a_cluster(tmp_path_factory.mktemp("cluster"), real) as site:
        yield site


@pytest.fixture(scope="module")
def client(site: Site, tmp_path_factory: pytest.TempPathFactory) -> User:
    return user_of(site, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def here(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Future[Told]"]:
    """What comes of the programs on this machine, in the end."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(user.python, "everywhere.py", str(tmp_path_factory.mktemp("here")))


@pytest.fixture(scope="module")
def both(site: Site, client: User, tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told]:
    """What comes of them in a cluster, and of what only a cluster does, at once."""
    folder = tmp_path_factory.mktemp("there")
    with ThreadPoolExecutor() as pool:
        pods = pool.submit(client.python, "pods.py", str(folder))
        there = pool.submit(client.python, "everywhere.py", str(folder))
        for key in ("gone", "silent"):
            (pod,) = soon(partial(_lines, folder / key))
            site.call(partial(site.node.lose, pod, gone=key == "gone"))
        return there.result(), pods.result()


@pytest.fixture
def there(both: tuple[Told, Told]) -> Told:
    return both[0]


@pytest.fixture
def pods(both: tuple[Told, Told]) -> Told:
    return both[1]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _ended(told: Told) -> dict[str, Any]:
    """How an action ended, without what is said of it in words."""
    error = told["error"]
    return {
        "task": told["task"],
        "phase": told["phase"],
        "group": told["group"],
        "attempts": [(one["phase"], one["code"]) for one in told["attempts"]],
        "error": error and (error["code"], error["kind"]),
        "abort": told["abort"],
        "children": sorted((_ended(one) for one in told.get("children", ())), key=str),
    }


@pytest.mark.parametrize("key", RUNS)
def test_it_ends_as_on_this_machine(here: "Future[Told]", there: Told, key: str) -> None:
    assert _ended(there[key]) == _ended(here.result()[key])
    assert there[key]["phase"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("key", "outputs"),
    [
        ("hello", ["hello, pod"]),
        ("fan", [[x * x for x in range(10)]]),
        ("mapped", [[10, 11, 12, 13, 14, 15]]),
        ("files", ["TEXT OF THE CLIENT", {"copy.txt": "text of the client"}]),
        ("killed", ["1"]),
        ("reused", [5]),
        ("aborted", ["ActionAbortedError"]),
        (
            "catches",
            [
                [
                    str(10 * 1024 * 1024),
                    "OOMError OOMKilled",
                    "MaxRuntimeExceededError MaxRuntimeExceededError",
                    "RuntimeUserError ContainerFailed",
                    "12",
                    "ValueError: in a trace",
                ]
            ],
        ),
    ],
)
def test_what_it_returns(there: Told, key: str, outputs: list[Any]) -> None:
    assert there[key]["outputs"] == outputs


def test_a_retry_has_its_own_pod_prefix_and_log(there: Told, site: Site) -> None:
    flaky = there["flaky"]
    path, second = flaky["outputs"]
    assert (second, flaky["executions"]) == ("1", ["flaky", "flaky"])
    assert f"/{flaky['run']}/a0/2/" in path
    pods = [name for name in site.node.started if name.startswith(f"{flaky['run']}-")]
    assert len(pods) == 2
    assert [[n for n in range(2) if f"this is attempt {n} of {n}\n" in log] for log in flaky["logs"]] == [[0], [1]]
    assert "ValueError: too early" in flaky["logs"][0]


def test_no_attempt_ran_twice(there: Told, pods: Told, site: Site) -> None:
    assert set(site.node.started.values()) == {1}


def test_what_was_aborted_was_told_to_end(there: Told) -> None:
    """By SIGTERM, and it had time for that."""
    assert [line.rstrip(" 0123456789") for line in there["aborted"]["executions"]] == ["sleeps", "told to end"]


def test_a_type_that_nobody_knows(there: Told) -> None:
    error = there["unknown"]["error"]
    assert (there["unknown"]["phase"], error["code"], error["kind"]) == ("FAILED", "PluginNotFound", "KIND_USER")
    assert "'no-such-type'" in error["message"]
    assert "raw-container" in error["message"], "what there is"


def test_an_image_that_cannot_be_pulled(pods: Told) -> None:
    """The SDK's own exception; its text names the image."""
    (said,) = pods["imageless"]["outputs"]
    assert said.startswith("ImagePullBackOff: ")
    assert "registry.invalid/no-such-image:1" in said


@pytest.mark.parametrize("key", ["gone", "silent"])
def test_a_node_that_is_lost_costs_no_retry(pods: Told, key: str) -> None:
    """Its pod is deleted, or says for ever that it is to be."""
    lost = pods[key]
    assert (lost["phase"], lost["outputs"]) == ("SUCCEEDED", ["it was tried again"])
    first, last = lost["attempts"]
    assert (first["phase"], last["phase"]) == ("FAILED", "SUCCEEDED")
    assert first["code"] in ("Interrupted", "ResourceDeletedExternally")
    assert len(set(lost["pods"])) == 2


@pytest.mark.parametrize(("key", "reason"), [("roomless", "no room"), ("at_once", "at once")])
def test_an_abort_before_its_pod_runs(pods: Told, key: str, reason: str) -> None:
    assert (pods[key]["phase"], pods[key]["abort"]) == ("ABORTED", reason)


def test_nothing_is_left(pods: Told, site: Site) -> None:
    """But the pod of a node that says nothing: it goes with the node."""
    (silent,) = pods["silent"]["pods"][:1]
    site.until_left([f"pods/{silent}"])
    site.call(partial(site.node.bury, silent))
    site.until_left([])


def test_the_log_of_a_pod_that_is_gone(there: Told, client: User, site: Site) -> None:
    run = there["flaky"]["run"]
    soon(lambda: not [one for one in site.left() if run in one])
    said = client.flyte("get", "logs", run, "--attempt", "1")
    assert "this is attempt 0 of 0" in said
    assert "ValueError: too early" in said
