"""A receiver of webhooks, in a process of its own, which counts messages."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.sharedctypes import Synchronized

    type Count = Synchronized[int]


@contextmanager
def receiving() -> Iterator[tuple[str, Count]]:
    """Give its URL, and the number of messages so far."""
    context = multiprocessing.get_context("spawn")
    heard: Count = context.Value("q", 0)
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(theirs, heard), daemon=True)
    process.start()
    try:
        yield ours.recv(), heard
    finally:
        process.terminate()
        process.join()


def _receive(said: Any, heard: Count) -> None:
    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with heard.get_lock():
                heard.value += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    said.send(f"http://127.0.0.1:{server.server_port}/hook")
    server.serve_forever()
