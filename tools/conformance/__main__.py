"""Run the SDK's own examples, unmodified, against a server, and write docs/conformance.md."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

import httpx
from examples import find
from judge import Result, excused, judge
from manifest import Case, Manifest, load
from report import page, strictly, summary, when
from server import Server, serving
from user import User, furnish, keys_of

HERE = Path(__file__).parent
# Those that examples/queues assumes.
QUEUES = {
    "serial-1": "actions = 1",
    "small-3": "actions = 3",
    "bulk-a": "actions = 2",
    "bulk-b": "actions = 4",
    "runs-1": "runs = 1",
}


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped, whoever ends this
    told = _arguments()
    manifest = load(told.manifest)
    have = frozenset(told.have)
    found = find(told.examples)
    if not found:
        sys.exit(f"{told.examples} has no Python files: name the folder `examples` of a checkout of the SDK")
    cases = [case for example in found for case in manifest.cases_of(example)]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    chosen = [case for case in cases if fnmatchcase(case.name, told.only)]
    parts = sum(not manifest.cases_of(example) for example in found)
    results = _kept(told.json, cases)
    if told.failed:
        chosen = [case for case in chosen if case.name not in results or results[case.name].is_ == "failed"]
    with _user(told, manifest, have) as user, ThreadPoolExecutor(told.jobs) as many, ThreadPoolExecutor(1) as single:
        pools = [single if manifest.is_alone(case.file) else many for case in chosen]
        coming = [pool.submit(_one, case, user, manifest, told) for pool, case in zip(pools, chosen, strict=True)]
        try:
            for number, one in enumerate(as_completed(coming), 1):
                result = replace(one.result(), ran=now)
                results[result.name] = result
                print(
                    f"[{number}/{len(chosen)}] {result.is_:7} {result.seconds:4.0f} s  {result.name}  {result.reason}"
                )
                sys.stdout.flush()
                if told.json:
                    told.json.write_text(json.dumps([asdict(result) for result in results.values()], indent=1))
        except KeyboardInterrupt:
            for pool in (many, single):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    table = [results[case.name] for case in cases if case.name in results]
    if told.page:
        told.page.write_text(page(table, _origin(table, parts, told), manifest.exempt()))
    print(summary(table))
    print(strictly(table, manifest.exempt()))


def _origin(table: Sequence[Result], parts: int, told: argparse.Namespace) -> str:
    """What the results are of."""
    there = f" There is what these ask for: {', '.join(sorted(told.have))}." if told.have else ""
    return (
        f"SDK {version('flyte')}, examples {told.checkout}. {len(table)} cases; {parts} more files are parts of "
        f"others.{there} {when(table)}"
    )


def _kept(file: Path | None, cases: Sequence[Case]) -> dict[str, Result]:
    """The results of earlier runs, of cases that there are still."""
    if file is None or not file.exists():
        return {}
    names = {case.name for case in cases}
    return {told["name"]: Result(**told) for told in json.loads(file.read_text()) if told["name"] in names}


def _one(case: Case, user: User, manifest: Manifest, told: argparse.Namespace) -> Result:
    have = frozenset(told.have)
    if reason := manifest.lacking(case.file, have):
        return Result(name=case.name, is_="cannot", reason=reason)
    try:
        went = user.run(case, case.limit or told.limit)
    except (httpx.HTTPError, OSError, subprocess.SubprocessError) as wrong:  # the tool's trouble is told all the same
        return Result(name=case.name, is_="failed", reason=f"the tool could not follow it: {wrong}")
    result = judge(case, went)
    if told.logs:
        told.logs.mkdir(exist_ok=True)
        seen = "\n".join(map(str, (result, *went.actions, *went.apps)))
        (told.logs / f"{case.name.replace('/', '+')}.txt").write_text(f"{went.said}\n\n{seen}\n")
    told_of = [action.error for action in went.actions] + [message for _, _, message in went.apps]
    errors = "\n".join((result.reason, went.said, *told_of))
    if result.is_ == "failed" and (reason := manifest.shown(errors, have)):
        return excused(result, reason)
    return result


@contextmanager
def _user(told: argparse.Namespace, manifest: Manifest, have: frozenset[str]) -> Iterator[User]:
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        examples = told.examples.resolve()
        python = told.python.absolute() if told.python else furnish(folder / "environment", manifest, examples)
        if told.endpoint:
            keys = {name: value for name, value in os.environ.items() if name.startswith(("FLYTE_AWS_", "AWS_"))}
            yield User(examples, folder, Server(told.endpoint), python, keys)
            return
        with serving(folder, QUEUES, have) as server:
            yield User(examples, folder, server, python, keys_of(folder / "server", server.url))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("conformance", description=__doc__)
    add = parser.add_argument
    add("--examples", type=Path, required=True, metavar="FOLDER", help="the folder `examples` of a checkout of the SDK")
    add("--checkout", default="as given", metavar="NAME", help="which checkout that is, for the page")
    add("--endpoint", default="", help="a server that runs already, as http://localhost:30080; without: one of its own")
    add("--only", default="*", metavar="PATTERN", help="only these cases, as 'basics/*'")
    add("--jobs", type=int, default=2, help="how many at once, besides one of those that run alone")
    add("--limit", type=float, default=120, help="seconds until an example that has not ended is a failure")
    add(
        "--have",
        action="append",
        default=[],
        metavar="NEED",
        help="there is a gpu, docker, internet, ...: run that too",
    )
    add("--manifest", type=Path, default=HERE / "manifest.toml", metavar="FILE", help="what is known of the examples")
    add("--python", type=Path, metavar="FILE", help="the user's Python, with the SDK; without: one is furnished")
    add("--json", type=Path, metavar="FILE", help="results: kept there, and those it has of cases not run stay")
    add("--failed", action="store_true", help="run only what has not passed by what --json holds")
    add("--page", type=Path, metavar="FILE", help="write the table there, as docs/conformance.md")
    add("--logs", type=Path, metavar="FOLDER", help="keep what each example printed there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
