"""An S3 service on this machine, and a proxy before it that fails as networks and services do."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BUCKET = "runs"


@contextmanager
def s3() -> Iterator[int]:
    """A moto server with an empty bucket; its port. Skips the test where moto is not installed."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    port = running.get_host_and_port()[1]
    try:
        send(port, "PUT", f"/{BUCKET}")
        yield port
    finally:
        running.stop()


def send(port: int, method: str, path: str, body: bytes = b"", headers=None):
    """One request, answered with status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


@contextmanager
def environment(port: int) -> Iterator[None]:
    """The usual variables, and no others, pointing at the service on that port."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield


Fault = Callable[[str, str], str | None]
"""(method, path) -> what goes wrong: "lost" (done, but not answered), "cut" (not even done), "503",
"403", "blind" (the condition is ignored), or None."""


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """A proxy before the service; set its ``fault``."""
    made = Proxy(("127.0.0.1", 0), Handler)
    made.upstream, made.fault, made.seen = port, lambda method, path: None, []
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


class Proxy(ThreadingHTTPServer):
    upstream: int
    fault: Fault
    seen: list[tuple[str, str]]
    daemon_threads = True

    @property
    def port(self) -> int:
        return self.server_address[1]

    def times(self, count: int, fault: str, method: str = "PUT", part: str = "/log/c/") -> None:
        """Let so many of the next requests of that kind fail."""
        lock, left = threading.Lock(), [count]

        def decide(seen: str, path: str) -> str | None:
            with lock:
                if seen != method or part not in path or not left[0]:
                    return None
                left[0] -= 1
                return fault

        self.fault = decide


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _handle(self) -> None:
        self.server.seen.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in ("503", "403"):
            self._reply(int(fault), [], b"<Error><Message>as told</Message></Error>")
            return
        headers = dict(self.headers.items())
        if fault == "blind":
            headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
        if fault != "cut":
            status, answer, text = send(
                self.server.upstream, self.command, self.path, body, headers
            )
        if fault in ("lost", "cut"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._reply(status, answer, text)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _reply(self, status: int, headers, body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""
