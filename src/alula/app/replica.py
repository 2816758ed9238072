"""What is different where several replicas share a database: who this one is, and what only one of them does."""

import asyncio

from alula.api.door import respond
from alula.base.settings import Settings
from alula.control.serving import Serving
from alula.control.traffic import Traffic
from alula.core.lease import APPS, RETENTION, RUNS, Replica
from alula.executors.process.apps import AppProcesses
from alula.reconciler.apps import AppLoop
from alula.reconciler.lease import Alone, Leases
from alula.rpc.asgi import Asgi, Receive, Scope, Send
from alula.wire.apps import Place

_KINDS = {"reconciler": RUNS, "apps": APPS, "retention": RETENTION}
_TRY_AGAIN_LATER = 1013  # of the WebSocket protocol


def member(settings: Settings) -> Replica:
    """This replica, as the others see it."""
    server = settings.server
    kinds = tuple(_KINDS[role] for role in server.roles if role in _KINDS)
    url = server.url if server.listen or server.public_url else ""
    return Replica(settings.name, 0, server.term, kinds, url)


async def app_loop(serving: Serving, traffic: Traffic, processes: AppProcesses, place: Place) -> None:
    """Serve apps until cancelled. Whoever serves them next starts processes of its own: these are ended."""
    try:
        await AppLoop(serving, traffic, processes, place).run()
    finally:
        await asyncio.gather(*(processes.release(name) for name in await processes.names()))


def led(apps: Asgi, holding: Leases | Alone) -> Asgi:
    """``apps``, while this is the replica that runs them; else an answer that says which one does."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        lease = f"{APPS}/0"
        if holding.holds(lease):
            await apps(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        else:
            where = holding.holder(lease) if isinstance(holding, Leases) else ""
            advice = f"ask {where}" if where else "no replica does now: try again in a moment"
            await respond(send, 503, "unavailable", f"this replica does not serve apps: {advice}")

    return answer


def absent(role: str) -> Asgi:
    """What answers for a part that this process does not run."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        else:
            await respond(send, 404, "not_found", f"this process does not serve {role}: its roles say what it does")

    return answer
