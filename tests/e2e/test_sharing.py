"""Tasks of the SDK on a machine that is too small for them, with resources as the SDK spells them."""

import pytest

from .user import Told, User, serving

_MACHINE = """
[executor]
cpus = 2.0
memory = "2Gi"
gpus = ["GPU-0"]
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    with serving(tmp_path_factory.mktemp("sharing") / "home", _MACHINE) as served:
        user = User(tmp_path_factory.mktemp("user"), served.home, served.port)
        return user.python("sharing.py", str(tmp_path_factory.mktemp("notes")))


def test_what_asks_for_all_there_is_runs_one_after_the_other(told: Told) -> None:
    """A laptop runs examples that are made for servers, and a parent that asks for as much locks nothing up."""
    assert told["shared"]["outputs"] == [[0, 1, 2]]
    came, went = told["notes"][::2], told["notes"][1::2]
    assert [line.replace("comes", "goes") for line in came] == went
    assert len(came) == 3
    assert "asked for 4 CPUs, of 2 that this machine has: it gets all there is, alone" in told["root"]


def test_what_waits_says_what_for(told: Told) -> None:
    (reason,) = (text for text in told["waits"]["events"] if text.startswith("waits for"))
    assert "2 GiB of memory: 0 bytes of 2 GiB is free" in reason
    assert told["waited"]["phase"] == "SUCCEEDED"


def test_a_gpu_is_made_visible(told: Told) -> None:
    assert told["sees"]["outputs"] == ["GPU-0"]


def test_gpus_that_there_are_not_are_told_at_once(told: Told) -> None:
    assert told["dreams"]["phase"] == "FAILED"
    assert told["dreams"]["error"]["code"] == "ResourcesUnavailable"
    assert "asks for 8 GPUs, and this machine has 1" in told["dreams"]["error"]["message"]


def test_who_limits_their_patience_gets_the_time_out(told: Told) -> None:
    assert told["hopes"]["phase"] == "TIMED_OUT"
    assert told["hopes"]["error"]["code"] == "QUEUED_TIMEOUT_EXCEEDED"


def test_who_runs_out_of_memory_gets_more(told: Told) -> None:
    assert told["eats"]["outputs"] == [600 * 1024 * 1024]
    assert [attempt["code"] for attempt in told["eats"]["attempts"]] == ["OOMKilled", ""]
    assert "300 MiB of memory did not suffice: attempt 2 gets 1 GiB" in told["fed"]
