"""Signed URLs lead where their caller reaches the store: tasks from inside of a network, people from outside."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from connectrpc.code import Code
from flyteidl2.common import identifier_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy

from alula.app.keys import ends, signer
from alula.base.settings import Cluster, Executor, Objects, Secret, Server, Settings
from alula.blobs.account import Account
from alula.blobs.store import Blobs
from tests.api.caller import DOMAIN, PROJECT, Caller, python, refused
from tests.api.served import ALULA, Served
from tests.blobs.servers import KEY_ID, SECRET, Running, embedded

INSIDE = Executor(endpoint="http://Alula.flyte.svc:80")
EAST = {"east": Cluster(endpoint="https://alula.example.com:8443", objects="https://east.example.com")}
SERVER = Server(public_url="https://flyte.example.com")
STORE = Objects(
    endpoint="http://minio:9000",
    public_endpoint="https://s3.example.com",
    key_id=Secret("k"),
    secret=Secret("s"),
)
FOLDER = Objects()


@pytest.mark.parametrize(
    ("settings", "host", "url"),
    [
        (Settings(objects=STORE, executor=INSIDE), "alula.flyte.svc", "http://minio:9000"),
        (Settings(objects=STORE, executor=INSIDE), "alula.flyte.svc:80", "http://minio:9000"),
        (Settings(objects=STORE, executor=INSIDE), "localhost:30080", "https://s3.example.com"),
        (Settings(objects=STORE, executor=INSIDE, clusters=EAST), "alula.example.com:8443", "https://east.example.com"),
        (Settings(objects=STORE, server=SERVER, executor=INSIDE), "flyte.example.com", "https://s3.example.com"),
        (Settings(objects=STORE, server=SERVER, executor=Executor(endpoint=SERVER.url)), "flyte.example.com",
         "https://s3.example.com"),
        (Settings(objects=replace(STORE, public_endpoint="")), "any", "http://minio:9000"),
        (Settings(objects=Objects(bucket="s3://alula", region="eu-west-1")), "any",
         "https://s3.eu-west-1.amazonaws.com"),
        (Settings(objects=FOLDER, server=SERVER), "flyte.example.com", "https://flyte.example.com"),
        (Settings(objects=FOLDER, server=SERVER), "localhost:30080", "http://localhost:30080"),
        (Settings(objects=FOLDER, executor=INSIDE), "alula.flyte.svc", "http://Alula.flyte.svc:80"),
        (Settings(objects=FOLDER, clusters=EAST), "alula.example.com:8443", "https://east.example.com"),
    ],
)  # fmt: skip
async def test_who_asked_decides_where_a_url_leads(settings: Settings, host: str, url: str, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, "s3://alula")
    account = Account(settings.objects.endpoint, settings.objects.region, key_id="k", secret="s")
    sign = signer(blobs, account, settings)(host)
    assert (await sign("GET", "s3://alula/a", timedelta(minutes=1), {})).startswith(f"{url}/alula/a?")


def test_hosts_are_told_apart_without_their_default_ports() -> None:
    assert set(ends(Settings(server=SERVER, executor=INSIDE))) == {"flyte.example.com", "alula.flyte.svc"}


class Reached(Served):
    """`alula serve` whose store is elsewhere; 127.0.0.1 is the inside, localhost the outside."""

    def __init__(self, home: Path, store: Running, outside: str) -> None:
        super().__init__(home)
        self._config = home.with_name("alula.toml")
        (home.parent / "id").write_text(KEY_ID)
        (home.parent / "secret").write_text(SECRET)
        self._config.write_text(
            f'[server]\nhome = "{home}"\nlisten = ["localhost:{self.port}"]\n'
            f'[executor]\nendpoint = "http://127.0.0.1:{self.port}"\n'
            f'[objects]\nbucket = "s3://alula"\nendpoint = "{store.account.endpoint}"\npublic_endpoint = "{outside}"\n'
            'key_id = { file = "id" }\nsecret = { file = "secret" }\n'
        )

    @property
    def command(self) -> list[str]:
        return [ALULA, "serve", "--config", str(self._config)]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reached, Running, Running]]:
    """A server, its store, and the same store at another port."""
    folder = tmp_path_factory.mktemp("reach")
    with (
        embedded(folder / "objects") as inside,
        embedded(folder / "objects") as outside,
        Reached(folder / "home", inside, outside.account.endpoint) as server,
    ):
        yield server, inside, outside


async def test_both_sides_upload_and_download_by_their_own_urls(places: tuple[Reached, Running, Running]) -> None:
    server, inside, outside = places
    for host, store in (("127.0.0.1", inside), ("localhost", outside)):
        data = f"from {host}".encode()
        digest = hashlib.md5(data).digest()
        asked = dataproxy.CreateUploadLocationRequest(
            project=PROJECT, domain=DOMAIN, content_md5=digest, filename="a file"
        )
        reply = await Caller(f"http://{host}:{server.port}").data.create_upload_location(asked)
        assert reply.signed_url.startswith(f"{store.account.endpoint}/alula/")
        headers = {**reply.headers, "Content-MD5": base64.b64encode(digest).decode()}
        assert httpx.put(reply.signed_url, headers=headers, content=data).status_code == 200
        assert await store.blobs.get(reply.native_url) == data


async def test_data_outside_of_the_allowed_buckets_are_refused(places: tuple[Reached, Running, Running]) -> None:
    elsewhere = dataproxy.UploadInputsRequest(
        project_id=identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN),
        task_spec=python("pass"),
        inputs={"literals": []},
        base_dir="s3://another/place",
    )
    with refused(Code.INVALID_ARGUMENT, "must start with s3://alula/"):
        await Caller(places[0].url).data.upload_inputs(elsewhere)
