"""The user of an SDK: a Python environment, and a home for each example in which it is run as they would."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from judge import ENDED, Seen, Went
from manifest import Case, Manifest
from server import BIN, COMING, DOMAIN, Server, status

_GRACE = 5  # seconds between SIGTERM and SIGKILL
_LAST = 20_000  # characters of what a program printed


@dataclass(frozen=True, slots=True)
class User:
    """Runs cases: one folder for all, a home, a project and a configuration for each."""

    examples: Path
    folder: Path
    server: Server
    python: Path  # beside it is their `flyte`
    keys: dict[str, str]  # the variables by which a client reads and writes objects itself

    def run(self, case: Case, limit: float) -> Went:
        """Run a case and follow its runs to their end, at most for a time in seconds."""
        project = case.project or _project(case.name)
        home = self.folder / "homes" / _project(case.name)
        home.mkdir(parents=True)
        env = self._environment(case, project, home)
        for name, value in case.secrets.items():
            self._flyte(["create", "secret", name, "--value", value], env)
        for program in case.before:
            file = self.examples / program
            self._program([str(self.python), file.name], file.parent, env, limit)
        start = time.monotonic()
        file = self.examples / case.file
        folder = self.examples / case.folder if case.folder else file.parent
        path = os.path.relpath(file, folder)
        command = [str(self.python), path, *case.args]
        if case.task:
            command = [str(self.python.parent / "flyte"), "run", path, case.task, *case.args]
        if case.flyte:
            command = [str(self.python.parent / "flyte"), *case.flyte]
        with self._answering(case.answers, project, env):
            code, said = self._program(command, folder, env, limit)
        actions = self._follow(project, start + limit)
        apps = [status(app) for app in self._settled(project, start + limit)]
        return Went(code=code, said=said, actions=tuple(actions), seconds=time.monotonic() - start, apps=tuple(apps))

    def _environment(self, case: Case, project: str, home: Path) -> dict[str, str]:
        config = home / "config.yaml"
        config.write_text(
            f"admin:\n  endpoint: dns:///{self.server.url.partition('//')[2]}\n  insecure: true\n"
            f"task:\n  project: {project}\n  domain: {DOMAIN}\nimage:\n  builder: remote\n"
        )
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.python.parents[1]),
            "HOME": str(home),
            "FLYTECTL_CONFIG": str(config),
            "FLYTE_DISABLE_TELEMETRY": "1",
            "COLUMNS": "250",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(str(self.examples / folder) for folder in case.path),
            **self.keys,
            **case.env,
        }

    def _flyte(self, words: Sequence[str], env: dict[str, str]) -> None:
        command = [str(self.python.parent / "flyte"), *words]
        subprocess.run(command, env=env, cwd=self.folder, capture_output=True, timeout=60, check=True)

    def _program(self, command: list[str], folder: Path, env: dict[str, str], limit: float) -> tuple[int | None, str]:
        """A program's exit code (None: it was stopped at its limit), and what it printed."""
        with subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                return None, _end(process)[-_LAST:]
            return process.returncode, said[-_LAST:]

    @contextmanager
    def _answering(self, answers: Mapping[str, str], project: str, env: dict[str, str]) -> Iterator[None]:
        """Meanwhile, answer conditions as they come up, as somebody at a shell does."""
        done = threading.Event()

        def answer() -> None:
            answered: set[tuple[str, str]] = set()
            while not done.wait(1):
                for run, name, action in self.server.paused(project):
                    if name in answers and (run, action) not in answered:
                        self._flyte(["signal", "condition", run, action, answers[name]], env)
                        answered.add((run, action))

        thread = threading.Thread(target=answer)
        if answers:
            thread.start()
        yield
        done.set()
        if answers:
            thread.join()

    def _follow(self, project: str, until: float) -> list[Seen]:
        """Wait for all runs of a project, also those that others start; abort what does not end in time."""
        while going := [run for run, ended in self.server.runs(project) if not ended]:
            if time.monotonic() > until:
                break
            for run in going:
                self.server.wait(run, until)
        seen = self._actions(project)
        while not going and any(one.phase not in ENDED for one in seen) and time.monotonic() < until:
            time.sleep(1)  # what a root leaves behind is aborted a moment after its end
            seen = self._actions(project)
        for run in going:
            self.server.abort(run)
        return seen

    def _actions(self, project: str) -> list[Seen]:
        return [action for run, _ in self.server.runs(project) for action in self.server.actions(run)]

    def _settled(self, project: str, until: float) -> list[object]:
        """The apps of a project, once they are up or have failed; they are deleted then."""
        while any(status(app)[1] in COMING for app in self.server.apps(project)) and time.monotonic() < until:
            time.sleep(1)
        apps = self.server.apps(project)
        for app in apps:
            self.server.delete(app)
        return apps


def _end(process: "subprocess.Popen[str]") -> str:
    """Stop a program with all that it started; what it printed."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        try:
            return process.communicate(timeout=_GRACE)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def furnish(folder: Path, manifest: Manifest, examples: Path) -> Path:
    """Make an environment with this SDK and what else a user of the examples has; its Python.

    Images that are made "with the local SDK" take wheels from where the SDK's developers have built them: three folders
    above the package. Here those are the released ones.
    """
    uv = str(BIN / "uv") if (BIN / "uv").exists() else "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", BIN / "python", folder], check=True)
    projects = [shutil.copytree(examples / name, folder / "projects" / name) for name in manifest.projects]
    wanted = [
        f"flyte=={version('flyte')}",
        *manifest.packages,
        *map(str, projects),
    ]  # copies: builds leave files behind
    subprocess.run([uv, "pip", "install", "--quiet", "--python", folder, *wanted], check=True)
    built = next((folder / "lib").glob("python*")) / "dist"
    named = [f"{wheel}=={version('flyte')}" for wheel in ("flyte", *manifest.wheels)]
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(built),
    ]
    subprocess.run([*fetch, *named], check=True)
    return folder / "bin" / "python"


def keys_of(home: Path, url: str) -> dict[str, str]:
    """The variables that let a client of a server of our own reach its objects."""
    keys = json.loads((home / "keys.json").read_text())
    return {
        "FLYTE_AWS_ENDPOINT": url,
        "FLYTE_AWS_ACCESS_KEY_ID": keys["key_id"],
        "FLYTE_AWS_SECRET_ACCESS_KEY": keys["secret"],
        "AWS_REGION": "us-east-1",
    }


def _project(name: str) -> str:
    """A name for a project: at most 63 characters of those allowed."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace(".py", "")).strip("-")[-60:].strip("-")
