"""A run that tells somebody: a condition whose webhook answers itself, and a notification of the end."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import flyte
from flyte.models import ActionPhase
from flyte.notify import Webhook
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="hooks")


@env.task
async def asks(url: str) -> str:
    hook = flyte.ConditionWebhook(url=url, payload={"answer": "{callback_uri}", "about": ["the", {"deep": "thing"}]})
    asked = await flyte.new_condition.aio("count", data_type=int, prompt="how many?", webhook=hook)
    return f"{await asked.wait.aio()} it is"


class Listener(BaseHTTPRequestHandler):
    """Answers every question with 42, and keeps what it was told."""

    told: list[tuple[str, Any]] = []  # noqa: RUF012
    finished = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.told.append((self.path, body))
        self.send_response(204)
        self.end_headers()
        if self.path == "/asked":
            threading.Thread(target=self.answer, args=[body["answer"]]).start()
        else:
            self.finished.set()

    def answer(self, uri: str) -> None:
        request = urllib.request.Request(uri, b'{"value": 42}', {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=20).close()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    flyte.init_from_config()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{listener.server_port}"
    rule = Webhook(
        on_phase=ActionPhase.SUCCEEDED, url=f"{base}/ended", body={"run": "{{.Run.Name}}", "phase": "{{.Phase}}"}
    )
    run = flyte.with_runcontext(notifications=(rule,)).run(asks, url=f"{base}/asked")
    ended = end(run)
    Listener.finished.wait(30)
    tell(ended=ended, told=Listener.told)
