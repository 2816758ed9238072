"""Tasks of a connector, with nothing but the SDK's own programs: its connector service, its tasks, its command."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from alula.kube.mirror import Mirror
from alula.kube.objects import Name, Object, Selection
from tests.manager.connecting import free_port

from .site import ACTIONS, Site, on_a_cluster, user_of
from .user import BIN, PATIENCE, PROGRAMS, Served, User, serving

TOKEN = hashlib.sha256(b"hush-hush").hexdigest()[:8]


@contextmanager
def connector() -> Iterator[str]:
    """The SDK's own service; its URL."""
    port = free_port()
    command = [str(BIN / "c0"), "--port", str(port), "--prometheus_port", str(free_port()), "--modules", "warehouse"]
    service = subprocess.Popen(command, cwd=PROGRAMS)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        service.terminate()
        service.wait(PATIENCE)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """With a Manager that knows the server's store, and a connector."""

    def more(served: Served) -> str:
        keys = json.loads((served.home / "keys.json").read_text())
        for name in ("key_id", "secret"):
            (tmp_path / name).write_text(keys[name])
        return f"""
            [manager.objects]
            endpoint = "http://localhost:{served.port}"
            key_id = {{ file = "key_id" }}
            secret = {{ file = "secret" }}
            [manager.connectors.warehouse]
            url = "{url}"
        """

    with connector() as url, on_a_cluster(tmp_path, None, more) as site:
        yield site


@asynccontextmanager
async def following(mirror: Mirror) -> AsyncIterator[None]:
    task = asyncio.create_task(mirror.run())
    yield
    task.cancel()


@pytest.fixture
def user(site: Site, tmp_path: Path) -> User:
    return user_of(site, tmp_path / "user")


def test_queries_without_a_cluster(tmp_path: Path) -> None:
    """The connector is named in the settings; the one that is served as an app says the same of itself, and waits."""
    with connector() as url, serving(tmp_path / "home", f'[executor.connectors.warehouse]\nurl = "{url}"\n') as served:
        user = User(tmp_path / "user", served.home, served.port)
        told = user.python("warehouse.py")
        assert told["asked"]["outputs"] == [f"why {TOKEN}"]
        assert (told["aborted"]["phase"], told["aborted"]["abort"]) == ("ABORTED", "not needed any more")
        assert "hush" not in user.flyte("get", "logs", told["asked"]["run"])


def test_a_connector_that_is_an_app(tmp_path: Path) -> None:
    """It sleeps until it is asked for."""
    with serving(tmp_path / "home") as served:
        user = User(tmp_path / "user", served.home, served.port)
        told = user.python("bazaar.py")
        assert told["asked"]["outputs"] == [f"why {TOKEN}"]
        assert told["unknown"]["error"]["code"] == "PluginNotFound"
        assert "'riddle'" in told["unknown"]["error"]["message"]


def test_queries_of_a_connector(site: Site, user: User) -> None:
    """Case O23."""
    statuses: list[Object] = []

    def see(_: Name, __: Object | None, new: Object | None) -> None:
        if new is not None:
            statuses.append(new)

    mirror = Mirror(site.cluster.kube, Selection(ACTIONS, site.cluster.namespace), dice=lambda: 0.5)
    mirror.subscribe(see)
    with site.portal.wrap_async_context_manager(following(mirror)):
        told = user.python("warehouse.py")
    assert (told["asked"]["phase"], told["asked"]["outputs"]) == ("SUCCEEDED", [f"why {TOKEN}"])
    assert (told["aborted"]["phase"], told["aborted"]["abort"]) == ("ABORTED", "not needed any more")
    site.until_left([])
    jobs = [one for one in statuses if (one.get("status") or {}).get("pluginState")]
    assert {one["spec"]["taskType"] for one in jobs} == {"query"}
    assert "hush" not in repr(statuses)
