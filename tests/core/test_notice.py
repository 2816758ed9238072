"""Which rule tells of what, and when to try again."""

from datetime import UTC, datetime, timedelta

import pytest

from alula.core.action import Failure, Kind, NewAction
from alula.core.message import Content, Hook, Mail
from alula.core.notice import (
    Book,
    Channel,
    Delivered,
    News,
    Outcome,
    Postponed,
    Refused,
    Rule,
    Templates,
    answered,
    channels,
    fires,
    next_try,
    of_new,
)
from alula.core.phase import Phase

HOOK = Templates(hook=Hook("https://h.example", "POST", {}, ""))
MAIL = Templates(mail=Mail((("", "a@x"), ("", "b@x")), (), (("", "a@x"),), Content("s", "t", "")))
NAMED_MAIL = Templates(hook=HOOK.hook, mail=Mail((("", "a@x"),), (), (), None, template="alert"))
NOW = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("on", [Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT, Phase.PAUSED])
def test_a_rule_fires_on_its_phase_and_recovered_is_success(on: Phase, phase: Phase) -> None:
    expected = phase is on or (on is Phase.SUCCEEDED and phase is Phase.RECOVERED)
    assert fires(Rule(frozenset({on}), HOOK), phase) is expected


@pytest.mark.parametrize(
    ("parent", "name", "kind", "phase", "expected"),
    [
        (None, "a0", Kind.TASK, Phase.QUEUED, None),
        (None, "a0", Kind.TASK, Phase.RUNNING, None),
        (None, "a0", Kind.TASK, Phase.FAILED, News(7, "a0", 0, Phase.FAILED, "boom")),
        (None, "a0", Kind.TASK, Phase.TIMED_OUT, News(7, "a0", 0, Phase.TIMED_OUT, "boom")),
        (None, "a0", Kind.TASK, Phase.SUCCEEDED, News(7, "a0", 0, Phase.SUCCEEDED, "")),
        ("a0", "x", Kind.TASK, Phase.FAILED, None),
        ("a0", "x", Kind.TRACE, Phase.SUCCEEDED, None),
        ("a0", "x", Kind.CONDITION, Phase.PAUSED, News(7, "x", 1, Phase.PAUSED, "")),
        ("a0", "x", Kind.CONDITION, Phase.SUCCEEDED, None),
    ],
)
def test_what_is_worth_telling(parent: str | None, name: str, kind: Kind, phase: Phase, expected: News | None) -> None:
    new = NewAction(name, parent, kind, "", "", "", "", b"", phase=phase, failure=Failure("Code", "boom"))
    assert of_new(7, new) == expected


def test_who_is_told() -> None:
    failed, ended = frozenset({Phase.FAILED}), frozenset({Phase.FAILED, Phase.SUCCEEDED})
    rules = (Rule(failed, HOOK), Rule(ended, MAIL), Rule(failed, None, "slack"), Rule(failed, None, "gone"))
    book = Book(deliveries={"slack": HOOK})
    assert channels(rules, Phase.SUCCEEDED, book) == [Channel("rules[1].email:a@x"), Channel("rules[1].email:b@x")]
    told = channels(rules, Phase.FAILED, book)
    assert [c.name for c in told if not c.problem] == [
        "rules[0].webhook",
        "rules[1].email:a@x",
        "rules[1].email:b@x",
        "rules[2].webhook",
    ]
    assert [(c.name, "'gone'" in c.problem) for c in told if c.problem] == [("rules[3]", True)]
    assert channels(rules, Phase.ABORTED, book) == []


def test_rules_and_texts_of_the_settings() -> None:
    rules = {"oncall": (Rule(frozenset({Phase.FAILED}), NAMED_MAIL),)}
    (missing,) = channels("nobody", Phase.FAILED, Book(rules=rules))
    assert "'nobody'" in missing.problem
    hook, mail = channels("oncall", Phase.FAILED, Book(rules=rules))
    assert hook == Channel("rules[0].webhook")
    assert "'alert'" in mail.problem
    whole = Book(rules=rules, mails={"alert": Content("s", "", "h")})
    assert channels("oncall", Phase.FAILED, whole)[1] == Channel("rules[0].email:a@x")


def test_there_are_not_too_many_messages() -> None:
    told = channels((Rule(frozenset({Phase.FAILED}), HOOK),) * 1000, Phase.FAILED, Book())
    assert len(told) == 101
    assert "900 more" in told[-1].problem


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, Delivered) for status in (200, 201, 204)),
        *((status, Refused) for status in (100, 301, 307, 400, 401, 404, 410)),
        *((status, Postponed) for status in (408, 425, 429, 500, 503, 599)),
    ],
)
def test_what_an_answer_means(status: int, outcome: type[Outcome]) -> None:
    assert isinstance(answered(status), outcome)


@pytest.mark.parametrize(
    ("tries", "chance", "wait", "seconds"),
    [
        (1, 0.5, 0, 1),
        (2, 0.5, 0, 2),
        (5, 0.5, 0, 16),
        (50, 0.5, 0, 300),
        (10_000, 0.5, 0, 300),
        (1, 0.0, 0, 0.1),
        (1, 0.5, 30, 30),
        (1, 0.5, 10**6, 3600),
    ],
)
def test_it_backs_off_with_jitter(tries: int, chance: float, wait: float, seconds: float) -> None:
    assert next_try(tries, NOW, NOW, wait, chance) == NOW + timedelta(seconds=seconds)


def test_it_gives_up_after_a_day() -> None:
    assert next_try(9, NOW, NOW + timedelta(hours=23), 0, 0.5) is not None
    assert next_try(9, NOW, NOW + timedelta(hours=24), 0, 0.5) is None
