"""The Manager's settings: what is read, and what mistakes are called."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from alula.cli.main import main
from alula.core.errors import Invalid
from alula.manager.settings import Manager, check, load, replica


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
    assert load(written(tmp_path, "")) == Manager()


@pytest.mark.parametrize(
    ("text", "said"),
    [
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
        (Manager(replica="ünsafe"), "lower-case letters"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Manager, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check(settings)


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
