"""Every golden pod as a real API server judges it: that of `$KUBEBUILDER_ASSETS`, if there is one."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from alula.manager.plugins.pod import PodPlugin

from .cases import cases, load

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS", "/usr/local/kubebuilder/bin"))
PATIENCE = 60  # seconds for a server to start


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _key(path: Path) -> Path:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


def _started(running: ExitStack, folder: Path, name: str, **options: object) -> None:
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    log = running.enter_context((folder / f"{name}.log").open("w"))
    process = running.enter_context(subprocess.Popen([ASSETS / name, *words], stdout=log, stderr=log, cwd=folder))
    running.callback(process.terminate)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    missing = [name for name in ("etcd", "kube-apiserver") if not (ASSETS / name).exists()]
    if missing:
        pytest.skip(
            f"no {' and no '.join(missing)} in {ASSETS}: set KUBEBUILDER_ASSETS to have pods judged by a real one"
        )
    folder = tmp_path_factory.mktemp("kubernetes")
    etcd, peer, port = (f"http://127.0.0.1:{_port()}", f"http://127.0.0.1:{_port()}", _port())
    key = _key(folder / "key.pem")
    (folder / "tokens.csv").write_text("the-token,admin,admin,system:masters\n")
    with ExitStack() as running:
        urls = {"listen_client_urls": etcd, "advertise_client_urls": etcd, "listen_peer_urls": peer}
        _started(running, folder, "etcd", data_dir=folder / "etcd", unsafe_no_fsync="true", **urls)
        _started(
            running,
            folder,
            "kube-apiserver",
            etcd_servers=etcd,
            cert_dir=folder / "certificates",
            bind_address="127.0.0.1",
            secure_port=port,
            service_cluster_ip_range="10.0.0.0/24",
            service_account_issuer="https://localhost",
            service_account_signing_key_file=key,
            service_account_key_file=key,
            token_auth_file=folder / "tokens.csv",
            authorization_mode="AlwaysAllow",
            disable_admission_plugins="ServiceAccount",
        )
        headers = {"Authorization": "Bearer the-token"}
        client = running.enter_context(
            httpx.Client(base_url=f"https://127.0.0.1:{port}", headers=headers, verify=False, timeout=PATIENCE)
        )
        _wait(client, folder)
        client.post("/api/v1/namespaces", json={"metadata": {"name": "work"}}).raise_for_status()
        high = {"metadata": {"name": "high"}, "value": 1}
        client.post("/apis/scheduling.k8s.io/v1/priorityclasses", json=high).raise_for_status()
        yield client


def _wait(client: httpx.Client, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, (folder / "kube-apiserver.log").read_text()[-2000:]
        time.sleep(0.1)


@pytest.mark.parametrize("path", cases("pod_"), ids=lambda path: path.stem)
def test_a_real_server_takes_the_pod_and_drops_nothing_of_it(server: httpx.Client, path: Path) -> None:
    made = PodPlugin().build(load(path).task)
    answer = server.post("/api/v1/namespaces/work/pods?dryRun=All&fieldValidation=Strict", json=made)
    assert answer.is_success, answer.text
    found = answer.json()
    assert found["metadata"]["annotations"] == made["metadata"]["annotations"]
    assert [one["name"] for one in found["spec"]["containers"]] == [one["name"] for one in made["spec"]["containers"]]
    assert found["spec"]["restartPolicy"] == "Never"


def test_a_real_server_refuses_what_is_no_pod(server: httpx.Client) -> None:
    made = PodPlugin().build(load(cases("pod_container")[0]).task)
    made["spec"]["containers"][0]["imagePull"] = "Always"
    answer = server.post("/api/v1/namespaces/work/pods?dryRun=All&fieldValidation=Strict", json=made)
    assert answer.status_code == 400, answer.text
