"""What came of an example is decided without running one."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "conformance"


@pytest.fixture(scope="module")
def judging() -> Any:
    return _module("judge")


def _module(name: str) -> Any:
    """A module of the tool, which is a program and no package of ours."""
    sys.path.insert(0, str(TOOL))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOL))


def _root(judging: Any, **told: Any) -> Any:
    return judging.Seen(**{"run": "r", "name": "a0", "task": "main", "phase": "succeeded", **told})


def _child(judging: Any, **told: Any) -> Any:
    return _root(judging, **{"name": "c1", "task": "child", **told})


def _case(**told: Any) -> Any:
    return _module("manifest").Case(**{"file": "x.py", **told})


def _expected(**told: Any) -> tuple[Any]:
    return (_module("manifest").Expected(**told),)


@pytest.mark.parametrize(
    ("told", "went", "reason"),
    [
        ({}, {"code": 0}, ""),
        ({}, {"code": -6}, ""),  # the SDK's HTTP client aborted a program that had done all
        ({}, {"code": -6, "said": "Traceback\nValueError: no"}, "exit code -6: ValueError: no"),
        ({}, {"code": 1, "said": "x\nKeyError: 'k'\n"}, "exit code 1: KeyError: 'k'"),
        ({}, {"code": None, "said": "waiting", "seconds": 60}, "the program did not end in 60 s: waiting"),
        ({"stays": True}, {"code": None}, ""),
        ({"exit": 3}, {"code": 3}, ""),
        ({"says": "done"}, {"code": 0, "said": "almost"}, "it does not say 'done': almost"),
        ({}, {"code": 0, "apps": (("a", "active", ""),)}, ""),
        ({}, {"code": 0, "apps": (("a", "failed", "no port"),)}, "the app a is failed: no port"),
    ],
)
def test_programs(judging: Any, told: dict[str, Any], went: dict[str, Any], reason: str) -> None:
    result = judging.judge(_case(**told), judging.Went(**{"said": "", **went}))
    assert (result.is_, result.reason) == ("failed" if reason else "passed", reason)


def test_a_run_that_failed_is_a_failure_unless_that_is_expected(judging: Any) -> None:
    went = judging.Went(code=0, said="", actions=(_root(judging, phase="failed", error="out of luck", attempts=2),))
    assert judging.judge(_case(), went).reason == "a run is failed: out of luck"
    assert judging.judge(_case(expect=_expected(phase="failed", attempts=2, error="luck")), went).is_ == "passed"
    assert judging.judge(_case(expect=_expected(phase="timed_out")), went).is_ == "failed"


def test_a_build_of_an_image_that_failed_is_a_failure_all_the_same(judging: Any) -> None:
    build = _root(judging, task="build-image", phase="failed", error="no such package")
    went = judging.Went(code=0, said="", actions=(build, _root(judging, phase="failed")))
    assert judging.judge(_case(expect=_expected(phase="failed")), went).reason == "a run is failed: no such package"


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        ({"task": "child", "cache": "hit"}, False),  # of all
        ({"task": "child", "cache": "hit", "count": 1}, True),
        ({"task": "child", "cache": "hit", "count": 2}, False),
        ({"task": "child", "count": 2}, True),
        ({"task": "stranger"}, False),  # of none
        ({"task": "stranger", "count": 0}, True),
    ],
)
def test_expectations_count(judging: Any, expected: dict[str, Any], passes: bool) -> None:
    actions = (_root(judging), _child(judging, cache="hit"), _child(judging, cache="populated"))
    went = judging.Went(code=0, said="", actions=actions)
    assert (judging.judge(_case(expect=_expected(**expected)), went).is_ == "passed") is passes


def test_a_reason_is_one_short_line_without_paths(judging: Any) -> None:
    said = 'Traceback\n  File "/home/me/x/y.py"\nOSError: cannot open /home/me/x/y.txt at localhost:4711 ' + "z" * 400
    reason = judging.judge(_case(), judging.Went(code=1, said=said)).reason
    assert reason.startswith("exit code 1: OSError: cannot open …/y.txt at the server zzz")
    assert len(reason) == 301


@pytest.mark.parametrize(
    ("source", "kind", "task"),
    [
        ("import flyte\nif __name__ == '__main__':\n    flyte.run(x)", "program", None),
        ("import flyte\n@env.task\ndef a(): ...\n@env.task(retries=1)\nasync def b(): ...", "tasks", "b"),
        ("import flyte\n@env.task\ndef main(): ...\n@env.task\ndef b(): ...", "tasks", "main"),
        ("from flyte import x\nVALUE = 1", "part", None),
        ("from .flyte import x\nif __name__ == '__main__': ...", "part", None),
        ("import os\nif __name__ == '__main__': ...", "part", None),
        ("def broken(:", "program", None),
    ],
)
def test_files(source: str, kind: str, task: str | None) -> None:
    example = _module("examples").read("x.py", source)
    assert example.kind == kind
    assert task is None or example.task == task


def test_only_what_the_goal_exempts_is_left_out_of_the_strict_figure(judging: Any) -> None:
    report = _module("report")
    table = [
        judging.Result(name="a", is_="passed"),
        judging.Result(name="b", is_="cannot", reason="needs a GPU"),
        judging.Result(name="c", is_="cannot", reason="runs for days"),
        judging.Result(name="d", is_="failed", reason="no"),
    ]
    assert report.summary(table).startswith("1 of the 2 that can run here passed (50.0 %)")
    assert report.strictly(table, {"needs a GPU"}).endswith("1 of 3 (33.3 %).")


def test_what_was_run_again_is_told(judging: Any) -> None:
    report = _module("report")
    table = [judging.Result(name=name, is_="passed", ran=ran) for name, ran in (("a", "09:00"), ("b", "09:00"))]
    assert report.when(table) == "Run 09:00."
    table.append(judging.Result(name="c", is_="passed", ran="10:00"))
    assert report.when(table).startswith("2 results are of the run of 09:00; 1 of 10:00: what had failed before, or ")


def test_a_manifest_says_what_nobody_knows(tmp_path: Path) -> None:
    manifest = _module("manifest")
    file = tmp_path / "m.toml"
    for text in (
        '[[case]]\nfile = "x"\ncolour = "red"',
        'needs = []\ncolour = "red"',
        '[[needs]]\nneed = "gpu"\nfiles = []',
    ):
        file.write_text(text)
        with pytest.raises(manifest.Unclear):
            manifest.load(file)


def test_the_manifest_of_the_tool_can_be_read() -> None:
    """Each of its cases has something to say of an example."""
    manifest = _module("manifest").load(TOOL / "manifest.toml")
    assert len({case.name for case in manifest.cases}) == len(manifest.cases)
    assert all(case.file.endswith(".py") for case in manifest.cases)
