"""A real kube-apiserver with its etcd, where their programs are found; alone, without controllers or nodes."""

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_PROGRAMS = ("kube-apiserver", "etcd")
_PATIENCE = 60.0  # seconds for the server to be ready
# Ends a program and removes its folder when the pipe it reads is closed: also when the tests are killed.
_GUARD = 'root="$1"; shift; "$@" & pid=$!; read _; kill -KILL $pid; wait $pid; rm -rf "$root"'


def programs() -> Path | None:
    """The folder of both programs, by envtest's convention; None: they are not on this machine."""
    for folder in (os.environ.get("KUBEBUILDER_ASSETS", ""), "/usr/local/kubebuilder/bin"):
        if folder and all((Path(folder) / name).exists() for name in _PROGRAMS):
            return Path(folder)
    return None


@contextmanager
def real_server(folder: Path) -> Iterator[Path]:
    """A kubeconfig of a server that runs as long as the block lasts."""
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="alula-kube-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        (root / "etcd").mkdir()
        (root / "apiserver").mkdir()
        etcd, peer, port = (_free_port() for _ in range(3))
        token = secrets.token_hex(16)
        (root / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        (root / "account.key").write_bytes(_key())
        stack.enter_context(_running(_etcd(folder, root, etcd, peer), root / "etcd" / "log"))
        stack.enter_context(_running(_apiserver(folder, root, etcd, port), root / "apiserver" / "log"))
        url = f"https://127.0.0.1:{port}"
        _wait(f"{url}/readyz", token, root / "apiserver" / "log")
        yield kubeconfig(root / "kubeconfig", url, token)


def kubeconfig(path: Path, url: str, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig for a server of tests."""
    cluster = {"server": url} | ({"insecure-skip-tls-verify": True} if url.startswith("https") else {})
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(value))
    path.chmod(0o600)
    return path


def _etcd(folder: Path, root: Path, port: int, peer: int) -> list[str]:
    url, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return [
        str(folder / "etcd"),
        f"--data-dir={root / 'etcd' / 'data'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={other}",
        f"--initial-advertise-peer-urls={other}",
        f"--initial-cluster=default={other}",
        "--unsafe-no-fsync=true",
        "--log-level=error",
    ]


def _apiserver(folder: Path, root: Path, etcd: int, port: int) -> list[str]:
    return [
        str(folder / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={root / 'apiserver' / 'certs'}",
        f"--token-auth-file={root / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://tests.invalid",
        f"--service-account-key-file={root / 'account.key'}",
        f"--service-account-signing-key-file={root / 'account.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",  # nobody makes the accounts' default
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",  # as some clusters have it
        "--watch-cache=true",
        "--v=0",
    ]


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        guard = ["/bin/sh", "-c", _GUARD, "guard", str(log.parent), *command]
        process = subprocess.Popen(guard, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _wait(url: str, token: str, log: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, context=context, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise TimeoutError(f"the API server did not become ready: {log.read_text()[-2000:]}") from None
        time.sleep(0.1)  # it tells nobody when it is ready


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _key() -> bytes:
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
