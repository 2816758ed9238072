"""What the Manager answers over HTTP: /healthz, /readyz and /metrics."""

from collections.abc import Callable

from alula.manager.metrics import Metrics
from alula.rpc.asgi import Asgi, Receive, Scope, Send

Ready = Callable[[], str]  # why it is not, "" if it is


def door(metrics: Metrics, ready: Ready) -> Asgi:
    """The application. It is read only, and names nothing of what users run."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["path"]:
            case "/healthz":
                await _answer(send, 200, b"the Manager is alive\n")
            case "/readyz":
                why = ready()
                text = why or "the Manager is at work"
                await _answer(send, 503 if why else 200, f"{text}\n".encode())
            case "/metrics":
                await _answer(send, 200, metrics.text(), metrics.content_type)
            case _:
                await _answer(send, 404, b"there are /healthz, /readyz and /metrics here\n")

    return serve


async def _answer(send: Send, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
