"""A small app, which tests serve: `python -c <this> PORT`. It says what it was asked, and does as it is told."""

import base64
import hashlib
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Tiny(BaseHTTPRequestHandler):
    """/pid, /headers, /slow?SECONDS, /stream?PATH (a line, then another once there is such a file), /die, /leave."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        print("asked for", self.path, flush=True)
        path, _, query = self.path.partition("?")
        if self.headers.get("upgrade") == "websocket":
            self._echo()
        elif path == "/stream":
            self._stream(Path(query))
        elif path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            if path == "/slow":
                time.sleep(float(query))
            told = {"/pid": str(os.getpid()), "/headers": str(self.headers)}
            self._answer(told.get(path, self.path).encode(), 307 if path == "/leave" else 200)

    def do_POST(self) -> None:
        if "content-length" in self.headers:
            self._answer(self.rfile.read(int(self.headers["content-length"])))
            return
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self._answer(body)

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "x-hop")
        self.send_header("x-hop", "1")
        if status == 307:
            self.send_header("location", "/arrived")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, gate: Path) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"data: first\n\n")
        try:
            while not gate.exists():
                time.sleep(0.01)
                self.wfile.write(b": still here\n\n")
            self.wfile.write(b"data: second\n\n")
        except ConnectionError:
            print("the client left", flush=True)

    def _echo(self) -> None:
        """The least of a WebSocket: one short text message, sent back in capitals."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        head = self.rfile.read(2)
        mask, size = self.rfile.read(4), head[1] & 127
        text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
        self.wfile.write(bytes([0x81, size]) + text.upper())
        self.wfile.write(bytes([0x88, 2, 0x03, 0xE8]))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing of one's own."""


if __name__ == "__main__":
    print("starting", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Tiny).serve_forever()
