"""docs/conformance.md: the table, and the sum of it."""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby

from judge import Result

_WORDS = {"passed": "passed", "failed": "**failed**", "cannot": "cannot run here"}


def percent(results: Sequence[Result]) -> float:
    """Of those that can run, how many passed."""
    able = [result for result in results if result.is_ != "cannot"]
    return 100 * sum(result.is_ == "passed" for result in able) / len(able) if able else 0.0


def summary(results: Sequence[Result]) -> str:
    """One sentence."""
    count = Counter(result.is_ for result in results)
    return (
        f"{count['passed']} of the {count['passed'] + count['failed']} that can run here passed "
        f"({percent(results):.1f} %); {count['cannot']} cannot run here."
    )


def strictly(results: Sequence[Result], exempt: Collection[str]) -> str:
    """The same with only the goal's own exemptions left out: whatever else was not run counts as not passed."""
    counted = [result for result in results if result.is_ != "cannot" or result.reason not in exempt]
    passed = sum(result.is_ == "passed" for result in counted)
    share = 100 * passed / len(counted) if counted else 0.0
    return f"Leaving out only accounts, GPUs and the internet: {passed} of {len(counted)} ({share:.1f} %)."


def when(results: Sequence[Result]) -> str:
    """When the cases were run: at once, or some of them later."""
    count = Counter(result.ran for result in results)
    first, *later = sorted(count)
    if not later:
        return f"Run {first}."
    others = ", ".join(f"{count[at]} of {at}" for at in later)
    return (
        f"{count[first]} results are of the run of {first}; {others}: what had failed before, or had not been reached, "
        "with what had been changed by then."
    )


def page(results: Sequence[Result], origin: str, exempt: Collection[str]) -> str:
    """The whole document. ``origin``: of which SDK and examples the results are, and how many are of earlier runs."""
    reasons = Counter(result.reason for result in results if result.is_ == "cannot")
    lines = [
        "# Conformance",
        "",
        "The SDK's own examples, each file unmodified, run as a user runs it, against a server of its own. This page",
        "is written by `python tools/conformance --examples DIR --page docs/conformance.md`, where `DIR` is the folder",
        "`examples` of a checkout of the SDK. `tools/conformance/manifest.toml` says which examples need what, which",
        "arguments they are given, and, for those that are about failing, retrying, caching or running again, what is",
        "to come of them: attempts, phases, cache status.",
        "",
        "The server is told to share out 16 CPUs whatever the machine has, to let images run their shell commands,",
        "and to use no container engine: tasks that name a foreign image run in the local environment, so a pass says",
        "nothing of that image. Some cases are told to run remotely, or by another command, where the plain one asks",
        "for Docker or stays on the user's machine; the manifest has them. What cannot run here is the manifest's",
        "judgement, part of it made after a failure was looked into; the second figure does without that judgement.",
        "",
        origin,
        summary(results),
        strictly(results, exempt),
        "",
        "| cannot run here because | cases |",
        "| --- | --- |",
        *(f"| {reason} | {count} |" for reason, count in reasons.most_common()),
    ]
    for folder, those in groupby(results, key=lambda result: result.name.partition("/")[0]):
        lines += ["", f"## {folder}", "", "| example | result | seconds | runs | actions | what there is to say |"]
        lines += ["| --- | --- | --- | --- | --- | --- |", *map(_row, those)]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    counts = ("", "", "") if result.is_ == "cannot" else (f"{result.seconds:.0f}", result.runs, result.actions)
    reason = result.reason.replace("|", "\\|").replace("<", "&lt;")
    return "| " + " | ".join(map(str, (result.name, _WORDS[result.is_], *counts, reason))) + " |"
