"""`alula serve`: what it takes, what it refuses and how it says so, and the parts of a server by themselves."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from alula.app.config import load, reference
from alula.base.settings import ROLES, Queue, Secret, Settings
from alula.core.errors import Invalid
from tests.api.caller import SUCCEEDED, Caller, action_id, creation, python, run_id
from tests.api.served import ALULA, Served, free_port

TEST_KEY = "c2VjcmV0IGtleSBvZiAzMiBieXRlcywgZm9yIHRlc3Q="


def written(folder: Path, text: str) -> Path:
    path = folder / "alula.toml"
    path.write_text(text)
    return path


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ALULA, "serve", *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **env}
    )


@dataclass
class Serving:
    """A process that serves, and what it said."""

    port: int
    process: "subprocess.Popen[str]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@contextmanager
def serving(folder: Path, text: str, port: int) -> Iterator[Serving]:
    """`alula serve` with a file, until the block ends; it has to end well."""
    config, log = written(folder, text), folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [ALULA, "serve", "--config", str(config)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        assert any("is ready" in line for line in process.stdout), log.read_text()
        yield Serving(port, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


# The file

WRONG = [
    ('[server]\nrols = ["api"]', "server.rols: there is no such key; known here are home, name, roles"),
    ("[sever]\nx = 1", "sever: there is no such key; known here are server, database, objects"),
    ('[server]\nroles = ["apx"]', 'server.roles.0: it has to be "api" or "reconciler"'),
    ("[server]\nroles = []", "server.roles: it has to be a list that is not empty"),
    ('[server]\nlisten = ["30080"]', "server.listen.0: '30080' is not HOST:PORT"),
    ("[server]\nterm = 0", "server.term: it has to be a number from 1 to 300"),
    ('[executor]\nmemory = "lots"', "executor.memory: 'lots' is not a quantity"),
    ("[executor]\ncpus = 0.0", "executor.cpus: it has to be a number above 0"),
    ("[executor.more_memory]\nfactor = 1.0", "executor.more_memory.factor: it has to be a number above 1"),
    ('[executor]\nslots = "5"', "executor.slots: it has to be a whole number of at least 1"),
    ('[executor]\nmode = "thread"', 'executor.mode: it has to be "fork" or "spawn"'),
    ('[server]\nroles = ["reconciler"]', "executor.endpoint: tasks have to reach an api"),
    ('[server]\nroles = ["scheduler", "apps"]', "server.roles: apps are reached through the process that runs them"),
    ("[queues.big]\nruns = 0", "queues.big.runs: it has to be a whole number of at least 1"),
    ("[retention]\nold = -1", "retention.old: it has to be a number above 0"),
    ('[database]\npassword = "hush"', 'database.password: say where it is: { env = "NAME" }'),
    ('[database]\npassword = { env = "NOT_SET" }', "database.password: the environment variable NOT_SET is not set"),
    ('[database]\npassword = { file = "none" }', "database.password: "),
    ('[database]\nurl = "mysql://u:hush@h/x"', "database.url: 'mysql' is the start of no database's address"),
    ('[objects]\nendpoint = "http://s3"', "objects.key_id, objects.secret: both are needed"),
    ('[objects]\nbucket = "A_B"', "objects.bucket: "),
    ('[objects]\nbucket = "ftp://abc"', "objects.bucket: bucket 'ftp://abc': say s3://NAME, gs://NAME"),
    ('[objects]\nbucket = "abfs://data"', "objects.account: it is for abfs://CONTAINER, which needs it"),
    ('[objects]\nbucket = "gs://data"\nfolder = "here"', "objects.folder: it is a folder or a bucket"),
    ('[objects]\nbucket = "gs://data"\nbuckets = ["s3://x-y"]', "objects.buckets: 's3://x-y' is not of the same store"),
    ('[objects]\nbuckets = ["s3://x-y"]', "objects.buckets, objects.public_endpoint: they are for a bucket"),
    ('[objects]\nbucket = "s3://data"\npublic_endpoint = "s3"', "objects.public_endpoint: 's3' is no URL"),
    ('[server]\npublic_url = "flyte.example.com"', "server.public_url: 'flyte.example.com' is no URL"),
    (
        '[notifications.mail]\nhost = "h"',
        "notifications.mail.sender: it is missing; a text that is not empty is needed",
    ),
    ('[clusters.a]\nqueue = ["x"]', "clusters.a.queue: there is no such key; known here are queues, projects"),
    ("[clusters.a]\nnamespace = 7", "clusters.a.namespace: it has to be a text that is not empty"),
    ("[clusters.a]\ndefault = true\n[clusters.b]\ndefault = true", "clusters: both a and b claim the default"),
    ("[clusters.A_B]", "clusters.A_B: use at most 63 small letters, digits and hyphens"),
    ('[clusters.local]\ncontext = "x"', "clusters.local: it is this machine"),
    ('[clusters.a]\nendpoint = "flyte:80"', "clusters.a.endpoint: 'flyte:80' is no URL"),
    ("[server\n", "it is no TOML"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=lambda value: value[:30])
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Invalid) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_several_mistakes_are_a_line_each(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        load(written(tmp_path, "[server]\nterm = 0\nport = 1"))
    assert len(str(caught.value).splitlines()) == 2


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ""))
    assert settings.server.roles == ROLES
    assert settings.home == Path("~/.alula").expanduser()
    assert settings.server.listen == ("localhost:30080", "localhost:8090")


def test_the_reference_is_a_file_that_says_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, reference())) == load(written(tmp_path, ""))


def test_the_reference_has_every_key(tmp_path: Path) -> None:
    def keys(value: Any) -> Iterator[str]:
        for field in fields(value):
            yield field.name
            if is_dataclass(inner := getattr(value, field.name)):
                yield from keys(inner)

    lines = {line.strip("# []").partition(" =")[0].rpartition(".")[2] for line in reference().splitlines()}
    assert [key for key in keys(Settings()) if key not in lines] == []


def test_everything_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hush")
    (tmp_path / "pg").write_text("hush\n")
    settings = load(
        written(
            tmp_path,
            """
            queues = { gpu = { actions = 2 }, "p/development/big" = { runs = 1 } }
            retention = { old = 0.5, "*" = 30 }
            [server]
            home = "here"
            hosts = ["Flyte.example.com"]
            public_url = "https://flyte.example.org"
            [database]
            url = "postgresql://me@db/alula"
            password = { file = "pg" }
            [notifications]
            allow = ["10.1.0.0/16"]
            [notifications.mail]
            host = "smtp"
            sender = "a@x.example"
            password = { env = "SMTP_PASSWORD" }
            [notifications.rules]
            mine = { anything = [1, 2] }
            [clusters.gpus]
            kubeconfig = "kube"
            queues = ["gpu"]
            [clusters.local]
            projects = ["small"]
            """,
        )
    )
    assert settings.home == tmp_path / "here"
    assert settings.server.names == {"flyte.example.com", "flyte.example.org"}
    assert settings.database.password == "hush"
    assert settings.notifications.mail is not None
    assert settings.notifications.mail.password == "hush"
    assert settings.notifications.rules == {"mine": {"anything": [1, 2]}}
    assert settings.queues == {"gpu": Queue(actions=2), "p/development/big": Queue(runs=1)}
    assert settings.retention == {"old": 0.5, "*": 30}
    assert settings.clusters["gpus"].kubeconfig == tmp_path / "kube"
    assert settings.clusters["local"].projects == ("small",)
    assert "hush" not in repr(settings)


def test_a_secret_is_not_printed() -> None:
    assert repr(Secret("hush")) == "Secret(...)"


# The command


def test_wrong_use() -> None:
    tried = run()
    assert tried.returncode == 2
    assert "--config" in tried.stderr


def test_a_wrong_file_ends_the_command(tmp_path: Path) -> None:
    tried = run("--config", str(written(tmp_path, "[server]\nrols = 1")))
    assert tried.returncode == 2
    assert tried.stderr.startswith("Error: ")
    assert "server.rols" in tried.stderr
    assert tried.stderr.count("\n") == 1
    assert run("--config", str(tmp_path / "none")).returncode == 2


def test_the_reference_is_printed() -> None:
    assert run("--config-reference").stdout == reference()


def test_check_tells_what_would_be_started_and_changes_nothing(tmp_path: Path) -> None:
    config = written(tmp_path, '[server]\nhome = "home"\nroles = ["api", "scheduler"]\nlisten = ["localhost:1"]')
    checked = run("--config", str(config), "--check")
    assert checked.returncode == 0, checked.stderr
    assert "roles: api, scheduler" in checked.stdout
    assert "to be made" in checked.stdout
    assert not (tmp_path / "home").exists()


def test_check_tells_what_cannot_be_used(tmp_path: Path) -> None:
    config = written(tmp_path, '[database]\nurl = "postgresql://u@localhost:1/none"\n[server]\nhome = "home"')
    for options in (["--check"], []):
        tried = run("--config", str(config), *options)
        assert tried.returncode == 1
        assert "the database cannot be reached" in tried.stderr
        assert "Traceback" not in tried.stderr


def test_a_host_that_is_none_of_this_machines(tmp_path: Path) -> None:
    config = written(tmp_path, '[server]\nhome = "home"\nlisten = ["192.0.2.1:30080"]')
    tried = run("--config", str(config))
    assert tried.returncode == 1
    assert "192.0.2.1:30080 cannot be listened on" in tried.stderr


# The parts


async def test_a_server_in_two_processes_on_one_machine_and_a_bucket_elsewhere(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are in a store that speaks S3: here, that of another alula. Clients are sent there, tasks use it."""
    keys = json.loads((served.home / "keys.json").read_text())
    monkeypatch.setenv("S3_ID", keys["key_id"])
    monkeypatch.setenv("S3_SECRET", keys["secret"])
    monkeypatch.setenv("ALULA_KEY", TEST_KEY)
    port = free_port()
    text = f"""
        [server]
        home = "home"
        listen = ["localhost:{port}"]
        hosts = ["flyte.example.com"]
        [objects]
        endpoint = "{served.url}"
        key_id = {{ env = "S3_ID" }}
        secret = {{ env = "S3_SECRET" }}
        [encryption]
        key = {{ env = "ALULA_KEY" }}
    """
    with serving(tmp_path, text, port) as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/readyz").status_code == 200
        code = "import os\nprint(os.environ['FLYTE_AWS_ENDPOINT'], '{{.outputPrefix}}')"
        caller = Caller(server.url)
        details = await caller.finished(python(code), name="elsewhere")
        assert details.status.phase == SUCCEEDED
        assert served.url in await caller.log(action_id(run_id("elsewhere")))
        assert http.get("/alula/anything").status_code == 404, "this process serves no objects"
        rpc = "/flyteidl2.auth.IdentityService/UserInfo"
        assert http.post(rpc, json={}, headers={"host": "flyte.example.com"}).status_code == 200
        assert http.post(rpc, json={}, headers={"host": "evil.example"}).status_code == 403
        for secret in (keys["secret"], TEST_KEY):
            assert secret not in server.log.read_text()


async def test_an_api_alone_takes_runs_and_starts_none(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, f'[server]\nhome = "home"\nroles = ["api"]\nlisten = ["localhost:{port}"]', port) as server:
        made = await Caller(server.url).runs.create_run(creation(python("pass"), name="waits"))
        assert made.run.action.status.phase == 1
        assert not (tmp_path / "home" / "executor").exists()
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_process_without_an_api_says_only_that_it_lives(tmp_path: Path) -> None:
    port = free_port()
    text = f'[server]\nhome = "home"\nroles = ["scheduler", "retention"]\nlisten = ["localhost:{port}"]'
    with serving(tmp_path, text, port) as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 200
        refused = http.post("/flyteidl2.auth.IdentityService/UserInfo", json={})
        assert refused.status_code == 404
        assert "is not served here" in refused.text
        assert "does not serve api" in http.get("/alula/an/object").text


def test_one_server_for_one_file(tmp_path: Path) -> None:
    port = free_port()
    text = f'[server]\nhome = "home"\nlisten = ["localhost:{port}"]'
    with serving(tmp_path, text, port):
        other = run("--config", str(written(tmp_path, text.replace(str(port), str(free_port())))))
        assert other.returncode == 1
        assert "is in use by alula, process" in other.stderr
