"""`GET /metrics`: what the server counts of itself."""

from alula.base.telemetry import Telemetry
from alula.rpc.asgi import Receive, Scope, Send

PATH = "/metrics"


class Metrics:
    """The door for those who read numbers."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._telemetry.text()
        headers = [
            (b"content-type", self._telemetry.content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
