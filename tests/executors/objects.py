"""The least of an S3 that a task needs, in memory: PUT, HEAD, GET with a range. ``python objects.py``.

Prints its port. For measurements only: it checks nothing.
"""

import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OBJECTS: dict[str, bytes] = {}
NONE: Mapping[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(
        self, status: int, body: bytes = b"", *, length: int | None = None, headers: Mapping[str, str] = NONE
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        OBJECTS[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        OBJECTS[f"{self.path}.by"] = self.headers.get("Authorization", "").encode()
        self.answer(200, headers={"ETag": '"1"'})

    def do_HEAD(self) -> None:
        self.find(with_body=False)

    def do_GET(self) -> None:
        self.find(with_body=True)

    def find(self, *, with_body: bool) -> None:
        content = OBJECTS.get(self.path)
        if content is None:
            self.answer(404)
            return
        headers = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not with_body:
            self.answer(200, length=len(content), headers=headers)
        elif part is None:
            self.answer(200, content, headers=headers)
        else:
            first, last = int(part[1]), min(int(part[2]), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.answer(206, content[first : last + 1], headers=headers)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
