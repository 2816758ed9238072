"""The process that stands for a container: it lays out its inputs, runs it, and collects its outputs.

It is an attempt like any other: its log is what it prints, its end is the container's, and a failure that is not the
container's is an error document. What to do is in the variable `executor.PLAN`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alula.copilot.steps import Failed, download, tell, upload
from alula.core import copilot
from alula.core.errors import Invalid
from alula.core.launch import Staging
from alula.executors.container.engine import LABEL
from alula.executors.container.executor import PLAN

_FAILED = 1
_SECRETS = "/etc/flyte/secrets"  # where programs look that do not ask for the folder
_OURS = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "ALULA_ATTEMPT")


class Container:
    """One container, in an engine or, without one, as a process of this machine."""

    def __init__(self, plan: Mapping[str, Any], work: Path) -> None:
        self._plan = plan
        self._staging = _staging(plan)
        self._inputs, self._outputs = work / "inputs", work / "outputs"
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> int:
        """Run it; its exit code.

        Raises:
            Failed: see there.
        """
        command: list[str] = list(self._plan["command"])
        if self._staging is not None:
            command = self._prepare(self._staging, command)
        code = self._contained(command) if self._plan["engine"] else self._plain(command)
        if self._staging is not None and code == 0:
            upload(self._staging, self._outputs)
        return code

    def _prepare(self, staging: Staging, command: Sequence[str]) -> list[str]:
        self._outputs.mkdir()
        inside = staging.input_folder if self._plan["engine"] else str(self._inputs)
        values = download(staging, self._inputs, inside)
        try:
            return [copilot.fill(word, values) for word in command]
        except Invalid as refusal:
            raise Failed("InvalidInput", str(refusal)) from refusal

    # By an engine

    def _contained(self, command: Sequence[str]) -> int:
        engine, name = self._plan["engine"], self._plan["name"]
        self._pull(engine)
        self._ask(engine, "rm", "--force", "--volumes", name)
        made = self._ask(engine, "create", "--name", name, *self._options(), self._plan["image"], *self._words(command))
        if made.returncode:
            raise Failed("ContainerCannotStart", _last(made))
        self._process = subprocess.Popen([engine, "start", "--attach", name])
        code = self._process.wait()
        state = self._ask(engine, "inspect", "--format", "{{.State.OOMKilled}}", name)
        if self._staging is not None:
            self._ask(engine, "cp", f"{name}:{self._staging.output_folder}/.", str(self._outputs))
        self._ask(engine, "rm", "--force", "--volumes", name)
        if state.stdout.strip() == "true":
            raise Failed("OOMKilled", "the container ran out of memory", again=True)
        return code

    def _pull(self, engine: str) -> None:
        image = self._plan["image"]
        if self._ask(engine, "image", "inspect", image).returncode == 0:
            return
        print(f"pulling {image}", flush=True)  # noqa: T201
        pulled = self._ask(engine, "pull", "--quiet", image)
        if pulled.returncode:
            wrong = "invalid reference" in pulled.stderr.lower()
            code = "InvalidImageName" if wrong else "ContainersNotReady|ImagePullBackOff"
            raise Failed(code, f"the image {image} cannot be pulled: {pulled.stderr.strip()}", again=not wrong)

    def _options(self) -> list[str]:
        plan = self._plan
        options = ["--label", f"{LABEL}={plan['home']}", "--network", "host"]
        for name in plan["env"]:
            options += ["--env", name]  # the value comes from our own environment: arguments are for everybody to see
        options += ["--memory", str(plan["memory"])] * bool(plan["memory"])
        options += ["--cpus", str(plan["cpu"])] * bool(plan["cpu"])
        options += ["--shm-size", str(plan["shared_memory"])] * bool(plan["shared_memory"])
        if plan["devices"] and plan["engine"].endswith("docker"):  # a list for it is quoted, as in CSV
            options += ["--gpus", f'"device={",".join(plan["devices"])}"']
        elif plan["devices"]:
            options += [word for device in plan["devices"] for word in ("--device", f"nvidia.com/gpu={device}")]
        if self._staging is not None:
            options += ["--volume", f"{self._inputs}:{self._staging.input_folder}"]
            options += ["--volume", self._staging.output_folder]
        if (secrets := os.environ.get("FLYTE_SECRETS_DEFAULT_DIR")) is not None:
            options += ["--volume", f"{secrets}:{secrets}:ro", "--volume", f"{secrets}:{_SECRETS}:ro"]
            options += ["--env", "FLYTE_SECRETS_DEFAULT_DIR"]
            options += ["--env", "FLYTE_SECRETS_FILE_PREFIX"]
        if plan["entry"]:
            options += ["--entrypoint", plan["command"][0]]
        return options

    def _words(self, command: Sequence[str]) -> Sequence[str]:
        return command[1:] if self._plan["entry"] else command

    def _ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    # Without one

    def _plain(self, command: Sequence[str]) -> int:
        assert self._staging is not None, "only a raw container is run without an engine"
        mapped = {self._staging.input_folder: self._inputs, self._staging.output_folder: self._outputs}
        for inside, folder in mapped.items():
            command = [word.replace(inside, str(folder)) for word in command]
        env = {name: os.environ[name] for name in (*_OURS, *self._plan["env"]) if name in os.environ}
        if shutil.which(command[0], path=env.get("PATH")) is None:
            text = f"{command[0]} is not on this machine, and no container engine is there to run {self._plan['image']}"
            raise Failed("ContainerCannotStart", f"{text}: start docker or podman, or install the command")
        self._process = subprocess.Popen(command, env=env)
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def _stop(self, *_: object) -> None:
        """Pass SIGTERM on; the container's end is ours."""
        if self._plan["engine"]:
            self._ask(self._plan["engine"], "kill", "--signal", "TERM", self._plan["name"])
        elif self._process is not None:
            self._process.terminate()


def _last(run: subprocess.CompletedProcess[str]) -> str:
    return run.stderr.strip().rpartition("\n")[2] or f"exit code {run.returncode}"


def _staging(plan: Mapping[str, Any]) -> Staging | None:
    found = plan["staging"]
    return None if found is None else Staging(**{**found, "interface": b64decode(found["interface"])})


def _fail(plan: Mapping[str, Any], failure: Failed) -> None:
    """Tell the failure where an attempt's failure is looked for."""
    print(f"{failure.code}: {failure}", file=sys.stderr, flush=True)  # noqa: T201
    if plan["staging"] is not None:
        tell(failure, plan["staging"]["outputs"])


def _main(plan: Mapping[str, Any]) -> int:
    try:
        return Container(plan, Path.cwd()).run()
    except Failed as failure:
        _fail(plan, failure)
        return _FAILED


def main() -> None:
    """Run what the environment asks for, and end as it ends."""
    sys.exit(_main(json.loads(os.environ.pop(PLAN))))
