"""The Manager's settings: what is read, and what mistakes are called."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alula.base.settings import Connector, Objects, Secret
from alula.cli.main import main
from alula.core.errors import Invalid
from alula.manager.settings import Batch, Manager, check, load, replica

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "kubernetes.md"
URL = "http://warehouse-connector:8000"


def written(folder: Path, text: str) -> Path:
    path = folder / "manager.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_is_different(tmp_path: Path) -> None:
    text = """
        [server]
        name = "another program's"
        [manager]
        control_plane = "http://alula:8090"
        namespace = "work"
        override = ["container"]
        [manager.pods]
        service_account = "tasks"
        image_pull_grace = 60
        tolerations = [{ key = "gpu", operator = "Exists" }]
        [manager.pods.env]
        A = "b"
    """
    found = load(written(tmp_path, text))
    assert (found.control_plane, found.namespace, found.override) == ("http://alula:8090", "work", ("container",))
    assert (found.pods.service_account, dict(found.pods.env)) == ("tasks", {"A": "b"})
    assert found.pods.image_pull_grace == timedelta(minutes=1)
    assert list(found.pods.tolerations) == [{"key": "gpu", "operator": "Exists"}]
    assert found.workers == Manager().workers
    assert found.batch is None
    assert load(written(tmp_path, "")) == Manager()


def test_what_plugins_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_KEY", "hush")
    (tmp_path / "secret").write_text("hush-hush")
    text = """
        [manager.objects]
        endpoint = "https://s3.example.com"
        bucket = "data"
        key_id = { env = "STORE_KEY" }
        secret = { file = "secret" }
        [manager.connectors.warehouse]
        url = "http://warehouse:8000"
        idempotent = true
        [manager.ray]
        dashboard = "https://ray.example.com/{{.rayClusterName}}"
        linger = 600
        [manager.spark]
        history = "https://spark.example.com"
        conf = { "spark.eventLog.enabled" = "true" }
        [manager.dask]
        dashboard = "https://dask.example.com/{{.daskSchedulerName}}"
        [manager.batch]
        region = "eu-west-1"
        queue = "spot"
    """
    found = load(written(tmp_path, text))
    check(found)
    assert (found.objects.uri, str(found.objects.key_id), str(found.objects.secret)) == (
        "s3://data",
        "hush",
        "hush-hush",
    )
    assert "hush" not in repr(found)
    assert found.connectors == {"warehouse": Connector(url="http://warehouse:8000", idempotent=True)}
    assert (found.ray.linger, found.spark.conf) == (600, {"spark.eventLog.enabled": "true"})
    assert found.batch == Batch(region="eu-west-1", queue="spot")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[manager.connectors.a]\nproject = 'x'", "manager.connectors.a.url: Field required"),
        (
            "[manager.connectors.a]\nurl = 'http://x'\ntimeout = 0",
            "manager.connectors.a.timeout: Input should be greater",
        ),
        ("[manager.objects]\nsecret = 'hush'", "manager.objects.secret: Value error, say where it is"),
        ("[manager.ray]\ndashbord = 'x'", "manager.ray.dashbord: there is no such key"),
        ("[manager.batch]\nqueue = 'x'", "manager.batch.region: Field required"),
        ("[manager]\nnamespaces = 'x'", "manager.namespaces: there is no such key"),
        ("[manager.pods]\nservise_account = 'x'", "manager.pods.servise_account: there is no such key"),
        ("[manager]\nworkers = 0", "manager.workers: Input should be greater than or equal to 1"),
        ("[manager]\ngroups = 65", "manager.groups: Input should be less than or equal to 64"),
        ("[manager", "it is no TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=r"manager\.toml") as found:
        load(written(tmp_path, text))
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Manager(control_plane="alula:8090"), "is no URL"),
        (Manager(listen="10254"), "is not HOST:PORT"),
        (Manager(connectors={"a": Connector(url="warehouse:8000")}), "manager.connectors.a.url: .* is no URL"),
        (Manager(objects=Objects(bucket="data")), "manager.objects: a Manager reads no folder"),
        (Manager(objects=Objects(bucket="s3://data", key_id=Secret("k"))), "say key_id and secret, or none"),
        (Manager(replica="ünsafe"), "lower-case letters"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Manager, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check(settings)


def test_what_is_documented_is_read(tmp_path: Path) -> None:
    """Every part of the Manager's configuration in the how-to, as the chart adds it to its own."""
    blocks = re.findall(r"```yaml\n(.*?)```", HOWTO.read_text(), re.DOTALL)
    told = [values["manager"]["config"] for block in blocks if "manager" in (values := yaml.safe_load(block))]
    assert len(told) > 3
    for text in told:
        check(load(written(tmp_path, f"[manager]\n[manager.pods]\n{text}")))
    found = [load(written(tmp_path, f"[manager]\n[manager.pods]\n{text}")) for text in told]
    assert any(one.batch == Batch(region="eu-west-1") for one in found)
    assert any(one.connectors["warehouse"] == Connector(url=URL) for one in found if one.connectors)


def test_a_replica_is_called_as_its_host() -> None:
    assert replica(Manager())
    assert replica(Manager(replica="Manager.0")) == "manager-0"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--config", "/no/such/file"], 2, "cannot be read"),
        (["--control-plane", "nowhere"], 2, "is no URL"),
        (["--kubeconfig", "/no/such/file", "--listen", ""], 1, "cluster cannot be used"),
    ],
)
def test_the_command_says_what_is_wrong(words: list[str], code: int, said: str) -> None:
    found = CliRunner().invoke(main, ["manager", *words])
    assert found.exit_code == code
    assert said in found.output
