"""Apps with the SDK: serve, ask, serve again, stop, start; an app that calls another."""

import asyncio
import json
import os
import pathlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import flyte
import flyte.app
import flyte.remote
import httpx
from flyte.remote._logs import AppLogs

plain = flyte.app.AppEnvironment(
    name="plain",
    image=flyte.Image.from_debian_base(),
    args=["python", "-m", "http.server", "8080"],
    scaling=flyte.app.Scaling(replicas=(0, 1), scaledown_after=60),
    requires_auth=False,
)
coded = flyte.app.AppEnvironment(
    name="coded",
    image=flyte.Image.from_debian_base(),
    env_vars={"GREETING": "good day"},
    parameters=[flyte.app.Parameter(name="whom", value="world")],
    requires_auth=False,
)


@coded.server
def serve(whom: str) -> None:
    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            other = httpx.get(plain.endpoint).status_code
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps([os.environ["GREETING"], whom, other]).encode())

    print("serving", whom, flush=True)
    ThreadingHTTPServer(("127.0.0.1", coded.get_port().port), Greeter).serve_forever()


async def served(env: flyte.app.AppEnvironment) -> flyte.remote.App:
    """The handle that ``flyte.serve`` gives, as what it is for a server."""
    handle = await flyte.serve.aio(env)
    assert isinstance(handle, flyte.remote.App)
    return handle


async def main() -> dict[str, object]:
    app = await served(plain)
    await app.watch.aio("activated")
    told: dict[str, object] = {"endpoint": app.endpoint, "listing": httpx.get(app.endpoint).status_code}
    again = await served(plain)
    told["revisions"] = [app.revision, again.revision]
    greeter = await served(coded)
    await greeter.watch.aio("activated")
    told["greeting"] = httpx.get(greeter.endpoint, timeout=30).json()
    await app.deactivate.aio(wait=True)
    told["stopped"] = httpx.get(app.endpoint).status_code
    app = await flyte.remote.App.get.aio("plain")
    begun = time.monotonic()
    app = await app.activate.aio(wait=True)
    told["activated"] = [httpx.get(app.endpoint).status_code, time.monotonic() - begun]
    found = {one.name: one.deployment_status async for one in flyte.remote.App.listall.aio(in_status="active")}
    told["active"] = sorted(found)
    logs = AppLogs.tail.aio(greeter.pb2.metadata.id)
    async for line in logs:
        if "serving world" in line.message:
            told["log"] = line.message
            break
    for name in ("plain", "coded"):
        await flyte.remote.App.delete.aio(name)
    return told


if __name__ == "__main__":
    flyte.init_from_config(root_dir=pathlib.Path(__file__).parent)
    print(json.dumps(asyncio.run(main())))
