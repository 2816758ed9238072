"""Notifications: what is worth telling, whom a rule tells, and when to try again. Pure decisions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from alula.core.action import Action, Failure, Kind, NewAction
from alula.core.ids import ROOT
from alula.core.message import Content, Hook, Mail
from alula.core.phase import Phase

_BASE = 2.0  # seconds until the first repetition, at most
_CAP = 600.0  # seconds until any, at most
_PATIENCE = timedelta(hours=24)  # from the news until nobody tries any more
_AGAIN = frozenset({408, 425, 429})  # answers that say: not now. With them all of 5xx
_MOST = 100  # messages for one piece of news
_ERROR = 16_000  # characters of an error that are told
_OTHERS = "rules"  # the channel of what is wrong with the rules themselves
CONDITION = "condition.webhook"  # the channel of a condition's own webhook


class State(IntEnum):
    """Where a delivery is in its life."""

    WAITING = 1
    SENDING = 2  # somebody sends it now, or died while sending it
    SENT = 3
    FAILED = 4  # given up; its error says why
    UNKNOWN = 5  # sent, or not: it is not sent again


class News(NamedTuple):
    """Something that people may have asked to be told. ``attempt`` is 0 for the end of a run: that is told once."""

    run: int
    action: str
    attempt: int
    phase: Phase
    error: str


@dataclass(frozen=True, slots=True)
class Templates:
    """How to tell: by webhook, by e-mail, or both."""

    hook: Hook | None = None
    mail: Mail | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """When to tell, and how: by ``templates``, or as the server's settings say under the name ``config``."""

    phases: frozenset[Phase]
    templates: Templates | None
    config: str = ""


Rules: TypeAlias = str | tuple[Rule, ...]  # a name stands for rules that the server's settings have


@dataclass(frozen=True, slots=True)
class Book:
    """What the server's settings have under names: rules, ways to tell, and texts of e-mails."""

    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    deliveries: Mapping[str, Templates] = field(default_factory=dict, repr=False)
    mails: Mapping[str, Content] = field(default_factory=dict, repr=False)


class Channel(NamedTuple):
    """One message to one receiver: its name, unique for its news, and what is wrong with it already."""

    name: str
    problem: str = ""


def of_new(run: int, new: NewAction) -> News | None:
    """What is worth telling of an action that is being written for the first time."""
    return _news(run, new.name, new.parent, new.kind, (1, new.phase, _why(new.phase, new.failure, "")))


def of(action: Action) -> News | None:
    """What is worth telling of an action that has come into its phase just now."""
    error = _why(action.phase, action.failure, action.abort_reason)
    return _news(action.run_key, action.id.name, action.parent, action.kind, (action.attempt, action.phase, error))


def fires(rule: Rule, phase: Phase) -> bool:
    """Whether a rule tells of a phase. Results that were taken over count as success."""
    return (Phase.SUCCEEDED if phase is Phase.RECOVERED else phase) in rule.phases


def channels(rules: Rules, phase: Phase, book: Book) -> list[Channel]:
    """Everybody who is told of a phase, by these rules."""
    found = _found(rules, book)
    if found is None:
        return [Channel(_OTHERS, f"there is no notification rule {rules!r}: the server's settings have none")]
    told: list[Channel] = []
    for number, rule in enumerate(found):
        if fires(rule, phase):
            told += _of_rule(f"rules[{number}]", rule, book)
    if len(told) > _MOST:
        left = f"{len(told) - _MOST} more were not told: {_MOST} messages are the most"
        return [*told[:_MOST], Channel(_OTHERS, left)]
    return told


def templates(rules: Rules, channel: str, book: Book) -> Templates | None:
    """What a channel sends; ``None`` when the settings that it came from have changed since."""
    found = _found(rules, book) or ()
    number = int(channel.partition("[")[2].partition("]")[0])
    return _templates(found[number], book) if number < len(found) else None


def content(mail: Mail, book: Book) -> Content | None:
    """The texts of an e-mail, its own or those that the settings have under its template's name."""
    return mail.content or book.mails.get(mail.template)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has taken it."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """It was certainly not delivered, and may be later. ``wait``: seconds, when the receiver said so."""

    reason: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not delivered and never will be as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """It was sent, and nobody knows whether it was taken."""

    reason: str


Outcome: TypeAlias = Delivered | Postponed | Refused | Doubtful


def answered(status: int, wait: float = 0.0) -> Outcome:
    """What a webhook's answer means. ``wait``: the seconds of its Retry-After."""
    if status // 100 == 2:
        return Delivered()
    if status in _AGAIN or status // 100 == 5:
        return Postponed(f"it answered {status}", wait)
    if status // 100 == 3:
        return Refused(f"it answered {status}: redirects are not followed; name the final address in the rule")
    return Refused(f"it answered {status}")


def next_try(tries: int, since: datetime, now: datetime, wait: float, chance: float) -> datetime | None:
    """When to try again after ``tries`` failures, or ``None``: it is too late. ``chance`` is in [0, 1).

    Full jitter: any moment up to a limit that doubles with each failure, so that a receiver that comes back is not
    met by everybody at once.
    """
    limit = min(_CAP, _BASE * 2.0 ** min(tries - 1, 20))
    at = now + timedelta(seconds=max(limit * chance, min(wait, 6 * _CAP), 0.1))
    return at if at - since <= _PATIENCE else None


def _news(run: int, name: str, parent: str | None, kind: Kind, how: tuple[int, Phase, str]) -> News | None:
    attempt, phase, error = how
    if parent is None and name == ROOT and phase.terminal:
        return News(run, name, 0, phase, error)
    if kind is Kind.CONDITION and phase is Phase.PAUSED:
        return News(run, name, attempt, phase, "")
    return None


def _why(phase: Phase, failure: Failure | None, abort_reason: str) -> str:
    if phase is Phase.ABORTED:
        return abort_reason[:_ERROR]
    return failure.message[:_ERROR] if failure is not None and not phase.success else ""


def _found(rules: Rules, book: Book) -> Sequence[Rule] | None:
    return book.rules.get(rules) if isinstance(rules, str) else rules


def _templates(rule: Rule, book: Book) -> Templates | None:
    return rule.templates or book.deliveries.get(rule.config)


def _of_rule(name: str, rule: Rule, book: Book) -> Iterable[Channel]:
    found = _templates(rule, book)
    if found is None:
        yield Channel(name, f"there is no delivery config {rule.config!r}: the server's settings have none")
        return
    if found.hook is not None:
        yield Channel(f"{name}.webhook")
    if found.mail is None:
        return
    if content(found.mail, book) is None:
        missing = f"there is no e-mail template {found.mail.template!r}: the server's settings have none"
        yield Channel(f"{name}.email", missing)
        return
    for address in found.mail.recipients:
        yield Channel(f"{name}.email:{address}")
