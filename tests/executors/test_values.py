"""The pure parts: what is said about an image, which bundle a command names, what is unpacked, what is recorded."""

import io
import tarfile
from pathlib import Path

import pytest

from alula.executors.process import records
from alula.executors.process.bundles import bundle_uri
from alula.executors.process.environment import Environment
from alula.executors.process.runtime import Runtime
from alula.executors.process.unpack import unpack

OWN = Environment(Path("/venv/bin"), Path("/venv/bin/python"), "3.11.7", "2.12.1")
HERE = "running in the default environment (Python 3.11.7, flyte 2.12.1)"


@pytest.mark.parametrize(
    ("image", "note"),
    [
        ("", HERE),
        ("ghcr.io/flyteorg/flyte:py3.11-v2.12.1", HERE),
        ("ghcr.io/flyteorg/flyte:py3.12-v2.12.1", "image {} is not available here: " + HERE),
        ("ghcr.io/flyteorg/flyte:py3.11-v2.12.10", "image {} is not available here: " + HERE),
        ("python:3.9", "image {} is not available here: " + HERE),
    ],
)
def test_image_note(image: str, note: str) -> None:
    assert OWN.note(image) == note.format(image)


def test_variables() -> None:
    server = {"PATH": "/usr/bin", "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "s", "TZ": "UTC", "HTTP_PROXY": "u:p@h"}
    assert OWN.variables(server) == {
        "PATH": "/venv/bin:/usr/bin", "HOME": "/home/me", "TZ": "UTC", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "uri"),
    [
        ("a0 --tgz s3://b/x.tar.gz --dest . mod m", "s3://b/x.tar.gz"),
        ("a0 --tgz=s3://b/x.tar.gz mod m", "s3://b/x.tar.gz"),
        ("a0 --tgz s3://b/x.tar.gz --dest /else mod m", None),
        ("a0 --pkl s3://b/x.pkl mod m", None),
        ("a0 --tgz", None),
        ("python --tgz s3://b/x.tar.gz", None),
    ],
)
def test_bundle_uri(command: str, uri: str | None) -> None:
    assert bundle_uri(command.split()) == uri


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../outside", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc/passwd"),
        ("link", tarfile.SYMTYPE, "../../outside"),
        ("hard", tarfile.LNKTYPE, "../outside"),
        ("device", tarfile.CHRTYPE, ""),
    ],
)
def test_nothing_is_unpacked_outside(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    with tarfile.open(tmp_path / "archive", "w:gz") as out:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        out.addfile(member, io.BytesIO())
    with pytest.raises(tarfile.FilterError):
        unpack(tmp_path / "archive", tmp_path / "tree")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "tree"]


def test_too_large_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.executors.process.unpack._MOST_BYTES", 10)
    with tarfile.open(tmp_path / "archive", "w:gz") as out:
        member = tarfile.TarInfo("file")
        member.size = 11
        out.addfile(member, io.BytesIO(b"x" * 11))
    with pytest.raises(ValueError, match="more than 10 bytes"):
        unpack(tmp_path / "archive", tmp_path / "tree")


def test_records(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    assert records.read(folder / "end.json") is None
    records.create(folder / "end.json", {"a": 1})
    with pytest.raises(FileExistsError):
        records.create(folder / "end.json", {"a": 2})
    assert records.read(folder / "end.json") == {"a": 1}
    records.replace(folder / "end.json", {"a": 3})
    assert records.read(folder / "end.json") == {"a": 3}
    (folder / "end.json").write_text('{"a"')
    assert records.read(folder / "end.json") is None
    assert [path.name for path in folder.iterdir()] == ["end.json"]


def test_folders_of_attempts_are_short() -> None:
    """Sockets in TMPDIR must fit into 108 bytes."""
    home = records.Home(Path("/var/lib/alula/process"))
    assert len(str(home.attempt("x" * 200) / "tmp")) < 60
    assert home.attempt("a") != home.attempt("b")


def test_folders_that_cannot_be_written_are_removed(tmp_path: Path) -> None:
    home = records.Home(tmp_path)
    deep = home.attempt("a") / "work" / "closed" / "deep"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (home.attempt("a") / "link").symlink_to("/etc")
    for folder in (deep, deep.parent):
        folder.chmod(0o500)
    records.remove(home.attempt("a"))
    assert not home.attempt("a").exists()


@pytest.mark.parametrize(
    ("env", "fits"),
    [
        ({"PATH": "/bin"}, True),
        ({"PATH": "/bin", "OTHER": "x"}, True),
        ({"PATH": "/usr/bin"}, False),
        ({}, False),
        ({"PATH": "/bin", "READ_AT_IMPORT": "1"}, False),
        ({"PATH": "/bin", "LOG_LEVEL": "30", "USER_LOG_LEVEL": "20"}, True),
        ({"PATH": "/bin", "LOG_LEVEL": "20"}, False),
        ({"PATH": "/bin", "PYTHONDEVMODE": "1"}, False),
        ({"PATH": "/bin", "LD_PRELOAD": "x.so"}, False),
    ],
)
def test_which_environment_fits_the_loaded_runtime(env: dict[str, str], fits: bool) -> None:
    seen = {"PATH": "/bin", "READ_AT_IMPORT": None, "LOG_LEVEL": None, "USER_LOG_LEVEL": None}
    assert Runtime("a0", seen, {}, {}).fits(env) is fits
