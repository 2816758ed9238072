"""The tool that runs the SDK's examples, on a few of our own: real programs, a real server of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TOOL = HERE.parents[1] / "tools" / "conformance"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], str, str]:
    """What the tool wrote: results by name, the page, and what it printed."""
    folder = tmp_path_factory.mktemp("told")
    results, page = folder / "results.json", folder / "page.md"
    done = subprocess.run(
        [sys.executable, TOOL, "--examples", HERE / "examples", "--manifest", HERE / "manifest.toml",
         "--python", sys.executable, "--limit", "40", "--json", results, "--page", page],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(results.read_text())}, page.read_text(), done.stdout


def test_an_example_passes_if_all_is_as_expected(told: tuple[dict[str, dict[str, Any]], str, str]) -> None:
    results = told[0]
    assert results["greets.py"]["is_"] == "passed", results["greets.py"]
    assert results["tries.py again"]["is_"] == "passed", results["tries.py again"]
    assert results["tries.py again"]["reason"] == "it fails twice, as it is meant to"


def test_an_example_fails_with_the_error_of_its_run(told: tuple[dict[str, dict[str, Any]], str, str]) -> None:
    result = told[0]["tries.py hopes"]
    assert result["is_"] == "failed"
    assert "4 will not do" in result["reason"]


def test_what_is_not_here_is_not_run(told: tuple[dict[str, dict[str, Any]], str, str]) -> None:
    result = told[0]["draws.py"]
    assert (result["is_"], result["seconds"], result["reason"]) == ("cannot", 0, "needs a GPU")


def test_the_page_has_every_case_and_no_path_of_this_machine(
    told: tuple[dict[str, dict[str, Any]], str, str],
) -> None:
    results, page, said = told
    assert all(f"| {name} |" in page for name in results)
    assert "2 of the 3 that can run here passed (66.7 %); 1 cannot run here." in page
    assert "2 of the 3 that can run here passed" in said
    assert "Leaving out only accounts, GPUs and the internet: 2 of 3 (66.7 %)." in page
    assert page.count(f"Run {results['greets.py']['ran']}.") == 1
    assert "1 more files are parts of others" in page
    assert str(HERE) not in page
    assert sys.prefix not in page
