"""Which cluster runs an action."""

import pytest

from alula.core.ids import RunId
from alula.core.route import Claim, Routes, contested

CLAIMS = {
    "gpus": Claim(queues=("gpu", "vision/production/cpu")),
    "prod": Claim(projects=("billing", "vision/production")),
    "local": Claim(queues=("tiny",)),
    "rest": Claim(rest=True),
}


@pytest.mark.parametrize(
    ("project", "domain", "queue", "cluster"),
    [
        ("vision", "development", "gpu", "gpus"),
        ("billing", "development", "gpu", "gpus"),
        ("vision", "production", "cpu", "gpus"),
        ("vision", "development", "cpu", "rest"),
        ("vision", "production", "", "prod"),
        ("vision", "production", "other", "prod"),
        ("billing", "staging", "", "prod"),
        ("billing", "staging", "tiny", ""),
        ("vision", "development", "", "rest"),
    ],
)
def test_the_most_specific_claim_counts(project: str, domain: str, queue: str, cluster: str) -> None:
    assert Routes(CLAIMS).find(RunId(project, domain, "r"), queue) == cluster


def test_without_a_claim_it_is_this_machine() -> None:
    run = RunId("p", "d", "r")
    assert Routes({}).find(run, "gpu") == ""
    assert Routes({"c": Claim(queues=("gpu",))}).find(run, "") == ""


def test_what_two_claim_is_told() -> None:
    assert list(contested(CLAIMS)) == []
    twice = {"a": Claim(("q",), ("p",), rest=True), "b": Claim(("q",), ("p",), rest=True)}
    assert list(contested(twice)) == [
        "both a and b claim the queue q",
        "both a and b claim the project p",
        "both a and b claim the default",
    ]
