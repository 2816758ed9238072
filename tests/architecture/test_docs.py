"""What is not executed is not documented: every command in README.md and docs/ is run, in order, as a user would.

A block fenced as ``sh`` is run line by line in one shell per document. `alula up` is started and left running, as the
text around it says.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(p for p in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if "```sh\n" in p.read_text())
PATIENCE = 180  # seconds for one document's commands


def _blocks(document: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)


@contextmanager
def _left_running(command: str, env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {command}"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("alula is ready"):
                break
        else:
            assert process.stderr is not None
            pytest.fail(f"{command} did not become ready: {process.stderr.read()}")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.timeout(PATIENCE * 2)
@pytest.mark.xdist_group("default-ports")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_of_a_document_works(document: Path, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FLYTE_DISABLE_TELEMETRY": "1",
        "MAKEFLAGS": "",
    }
    script = "set -e\n"
    with ExitStack() as running:
        for block in _blocks(document):
            if ".venv/bin/alula up" in block:
                running.enter_context(_left_running(block.strip(), env))
            else:
                script += block
        if "rm -rf ~/.alula" in script:  # the text says to stop the server first
            script, _, after = script.partition("rm -rf")
            _run(script, env)
            running.close()
            script = f"set -e\nrm -rf{after}"
        _run(script, env)


def _run(script: str, env: dict[str, str]) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = []
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []
