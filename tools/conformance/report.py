"""docs/conformance.md: the table, and the sum of it."""

from collections import Counter
from collections.abc import Sequence
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


def page(results: Sequence[Result], version: str, checkout: str, parts: int) -> str:
    """The whole document."""
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
        f"SDK {version}, examples {checkout}. {len(results)} cases; {parts} more files are parts of others.",
        summary(results),
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
