"""The unmodified SDK with objects in a store elsewhere: S3, Google Cloud Storage and Azure.

Which programs speak for them, and where they are looked for, is said in `tests/blobs/servers.py`.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.api.served import ALULA, BIN, Served
from tests.blobs.servers import STORES, Running, absent

PROGRAMS = Path(__file__).parent / "programs"
SIZE = 7_000_000  # bytes: more than one part of an upload


class Elsewhere(Served):
    """`alula serve` with these objects."""

    def __init__(self, home: Path, store: Running) -> None:
        super().__init__(home)
        account, self._config = store.account, home.with_name("alula.toml")
        lines = [f'bucket = "{store.bucket}"', f'endpoint = "{account.endpoint}"']
        for name, value in (("key_id", account.key_id), ("secret", account.secret)):
            if value:
                home.with_name(name).write_text(value)
                lines.append(f'{name} = {{ file = "{name}" }}')
        if account.name:
            lines.append(f'account = "{account.name}"')
        places = f'[server]\nhome = "{home}"\nlisten = ["localhost:{self.port}"]\n'
        self._config.write_text(places + "\n".join(["[objects]", *lines, ""]))

    @property
    def command(self) -> list[str]:
        return [ALULA, "serve", "--config", str(self._config)]


@pytest.mark.parametrize("name", ["rclone", "azurite", "google"])
async def test_files_of_tasks_are_in_the_bucket(name: str, tmp_path: Path) -> None:
    if reason := absent(name):
        pytest.skip(reason)
    (tmp_path / "store").mkdir()
    with STORES[name](tmp_path / "store") as store, Elsewhere(tmp_path / "home", store) as server:
        where = ["--endpoint", server.address, "--insecure"]
        place = ["--project", "flytesnacks", "--domain", "development"]
        ran = subprocess.run(
            [str(BIN / "flyte"), *where, "run", *place, "--follow", "stored.py", "main", "--size", str(SIZE)],
            cwd=PROGRAMS,
            env={**os.environ, "HOME": str(tmp_path / "user"), "FLYTE_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert "exit code 0" in ran.stdout, ran.stdout + ran.stderr
        found = {uri: meta.size async for uri, meta in store.blobs.list(f"{store.bucket}/")}
    assert [size for uri, size in found.items() if "/raw/" in uri] == [SIZE]
    assert any(uri.endswith("/a0/1/outputs.pb") for uri in found)
    assert any(uri.endswith(".tar.gz") for uri in found), "the code, by a signed URL"
