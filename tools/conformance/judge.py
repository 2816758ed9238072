"""What came of an example: a pure decision from what was seen."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from manifest import Case, Expected

Class = Literal["passed", "failed", "cannot"]
ENDED = frozenset({"succeeded", "failed", "aborted", "timed_out", "recovered"})
_ABORTED = -6  # the SDK's HTTP client may abort an interpreter that ends while its threads do
_TRACE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Failure|NotFound|Group)\b.*", re.MULTILINE)
_LONGEST = 300  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An action as the API tells of it."""

    run: str
    name: str
    task: str
    phase: str
    attempts: int = 1
    cache: str = ""
    error: str = ""

    @property
    def is_root(self) -> bool:
        """Whether a program's own run begins with it; builds of images are the SDK's."""
        return self.name == "a0" and self.task != "build-image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """What was seen of one case."""

    code: int | None  # None: the program was still running at its limit
    said: str
    actions: tuple[Seen, ...] = ()
    seconds: float = 0
    apps: tuple[tuple[str, str, str], ...] = ()  # name, status, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A line of the table."""

    name: str
    is_: Class
    seconds: float = 0
    runs: int = 0
    actions: int = 0
    reason: str = ""
    ran: str = ""  # when the run of this tool began that it is of


def judge(case: Case, went: Went) -> Result:
    """Passed, or failed and why."""
    reason = _why_not(case, went)
    return Result(
        name=case.name,
        is_="failed" if reason else "passed",
        seconds=went.seconds,
        runs=sum(action.is_root for action in went.actions),
        actions=len(went.actions),
        reason=_short(reason) or case.why,
    )


def _why_not(case: Case, went: Went) -> str:
    if went.code is None and not case.stays:
        return f"the program did not end in {went.seconds:.0f} s: {_last(went.said)}"
    ended_well = went.code in (None, case.exit) or (went.code == _ABORTED and "Traceback" not in went.said)
    roots = [action for action in went.actions if action.name == "a0"]
    failed = [root for root in roots if root.phase != "succeeded" and not (case.expect and root.is_root)]
    if failed:
        return f"a run is {failed[0].phase}: {_gist(failed[0].error) or 'no error is told'}"
    apps = [app for app in went.apps if app[1] not in (case.apps.get(app[0], "active"), "stopped")]
    for name, status, message in apps:
        if status == "failed":
            return f"the app {name} is failed: {_gist(message)}"
    if not ended_well:
        return f"exit code {went.code}: {raised(went.said)}"
    if case.says not in went.said:
        return f"it does not say {case.says!r}: {_last(went.said)}"
    for name, status, message in apps:
        return f"the app {name} is {status}: {message}"
    return next(filter(None, (_missed(expected, went.actions) for expected in case.expect)), "")


def _missed(expected: Expected, actions: Iterable[Seen]) -> str:
    """Why an expectation is not met; empty: it is."""
    whose = expected.task or "the root"
    those = [a for a in actions if (a.task == expected.task if expected.task else a.is_root)]
    met = [action for action in those if _meets(action, expected)]
    if expected.count is not None:
        if len(met) == expected.count:
            return ""
        return f"{len(met)} of {len(those)} actions of {whose} are {_words(expected)}, expected {expected.count}"
    if those and len(met) == len(those):
        return ""
    other = next((a for a in those if a not in met), None)
    saw = f"{other.phase}, {other.attempts} attempts, cache {other.cache}: {other.error}" if other else "none"
    return f"{whose} is to be {_words(expected)}, and is {saw}"


def _meets(action: Seen, expected: Expected) -> bool:
    return (
        expected.phase in ("", action.phase)
        and expected.attempts in (0, action.attempts)
        and expected.cache in ("", action.cache)
        and expected.error in action.error
    )


def _words(expected: Expected) -> str:
    attempts = f"{expected.attempts} attempts" if expected.attempts else ""
    cache = f"cache {expected.cache}" if expected.cache else ""
    return ", ".join(filter(None, (expected.phase, attempts, cache, expected.error)))


def raised(said: str) -> str:
    """The error that a program ended with: the last line that looks like one, else the last line."""
    found = _TRACE.findall(said)
    return found[-1] if found else _last(said)


def _gist(error: str) -> str:
    """The error itself of one that comes with its traceback."""
    return raised(error) if "Traceback (most recent call last)" in error else error


def _last(said: str) -> str:
    """The last line with a word in it."""
    return next((line for line in reversed(said.splitlines()) if re.search(r"\w", line)), "it printed nothing")


def _short(text: str) -> str:
    """On one line, without what is of this machine alone: paths, colours."""
    text = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]+", " ", text)
    text = re.sub(r"(?<![\w:/.])(?:/[\w.@+-]+){2,}/", "…/", text)
    text = re.sub(r"\b(?:localhost|127\.0\.0\.1):\d+", "the server", text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def excused(result: Result, reason: str) -> Result:
    """The same, which cannot be otherwise here."""
    return replace(result, is_="cannot", reason=reason)
