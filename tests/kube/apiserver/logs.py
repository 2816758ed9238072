"""Logs of pods: the server asks the kubelet of the pod's node, as a real one does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from alula.kube.objects import PODS, Name
from tests.kube.apiserver.refusals import Refusal
from tests.kube.apiserver.storage import NODES, Storage

_PASSED = ("follow", "previous", "timestamps", "sinceTime", "tailLines")


async def pod_log(
    storage: Storage,
    name: Name,
    query: Mapping[str, str],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer with the log of one container."""
    pod = storage.of(PODS).get(name)
    spec = pod["spec"]
    names = [one["name"] for part in ("containers", "initContainers") for one in spec.get(part) or []]
    container = query.get("container") or names[0]
    if container not in names:
        raise Refusal(400, f"container {container} is not valid for pod {name.name}")
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain")],
    }
    end = {"type": "http.response.body", "body": b""}
    if not spec.get("nodeName"):
        await send(start)
        await send(end)
        return
    url = f"{_kubelet(storage, spec['nodeName'])}/containerLogs/{name.namespace}/{name.name}/{container}"
    passed = {key: query[key] for key in _PASSED if key in query}
    async with (
        httpx.AsyncClient(verify=False, timeout=60, trust_env=False) as http,  # a node's certificate is its own
        http.stream("GET", url, params=passed) as response,
    ):
        if response.is_error:
            raise Refusal(response.status_code, (await response.aread()).decode())
        await send(start)
        gone = asyncio.ensure_future(receive())
        pieces = aiter(response.aiter_bytes())
        try:
            while not gone.done():
                piece = asyncio.ensure_future(anext(pieces, None))
                await asyncio.wait([piece, gone], return_when="FIRST_COMPLETED")
                if not piece.done() or (data := piece.result()) is None:
                    piece.cancel()
                    break
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            gone.cancel()
    await send(end)


def _kubelet(storage: Storage, node: str) -> str:
    found = storage.of(NODES).objects.get(Name("", node))
    if found is None:
        raise Refusal(500, f"node {node} not found")
    status = found.new["status"]
    return f"https://{status['addresses'][0]['address']}:{status['daemonEndpoints']['kubeletEndpoint']['Port']}"
