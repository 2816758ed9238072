"""Which TCP ports a process tree listens on: on Linux the kernel's own tables say so, elsewhere a connection does."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from alula.executors.process import tree

_LISTEN = "0A"  # the state in /proc/net/tcp
_ANY4, _ANY6 = "0" * 8, "0" * 32
_LOOPBACK4, _LOOPBACK6 = "0100007F", "0" * 24 + "01000000"
_MAPPED = "0" * 16 + "FFFF0000"  # how one of IPv4 begins that a socket of IPv6 has: ::ffff:127.0.0.1
_PATIENCE = 0.2  # seconds for a connection on this machine


class Listener(NamedTuple):
    """A port, and an address at which it is reached from this machine."""

    host: str
    port: int


def free_port(avoided: Iterable[int]) -> int:
    """A port that nobody listens on at this moment."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in set(avoided):
            return port


def listeners(pid: int, ports: Iterable[int]) -> list[Listener]:
    """Where a process, or one below it, listens. Elsewhere than on Linux: which of ``ports`` somebody listens on."""
    if not tree.LINUX:
        return [found for port in ports if (found := _connected(port)) is not None]
    sockets = {inode for one in (pid, *tree.descendants(pid)) for inode in _sockets(one)}
    return sorted(found for found, inode in _open_ports() if inode in sockets)


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    yield target[8:-1]


def _open_ports() -> Iterator[tuple[Listener, str]]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{table}") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                host = _reached(address)
                if fields[3] == _LISTEN and host:
                    yield Listener(host, int(port, 16)), fields[9]


def _reached(address: str) -> str:
    """How a listening address is reached; "" for one that is not this machine's own."""
    address = address.removeprefix(_MAPPED)
    if address in (_ANY4, _LOOPBACK4):
        return "127.0.0.1"
    if address in (_ANY6, _LOOPBACK6):
        return "::1"
    if len(address) == len(_ANY4):
        return socket.inet_ntoa(bytes.fromhex(address)[::-1])
    return ""


def _connected(port: int) -> Listener | None:
    for host in ("127.0.0.1", "::1"):
        with suppress(OSError), socket.create_connection((host, port), _PATIENCE):
            return Listener(host, port)
    return None
