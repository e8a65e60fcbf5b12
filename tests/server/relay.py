"""A server in front of another one, which counts requests and the records in their answers."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


class Relay:
    """Passes requests on. `kinds` has the kind of each request, `records` counts what was answered."""

    def __init__(self, url: str, *, port: int = 0) -> None:
        self._upstream = url
        self._lock = threading.Lock()
        self.kinds: list[str] = []
        self.records: dict[str, int] = {"promise": 0, "task": 0}
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = relay.answer(asked, self.headers.get("Hitl-Capabilities"))
                body = json.dumps(answer).encode()
                self.send_response(answer["head"]["status"])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
                pass

        class Listener(ThreadingHTTPServer):
            request_queue_size = 1_024  # a client sends many at once

        self._server = Listener(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Count from nothing again."""
        self.kinds.clear()
        self.records = {"promise": 0, "task": 0}

    def answer(self, asked: dict[str, Any], question: str | None) -> dict[str, Any]:
        """Return what the server behind answers, as this one passes it on."""
        answer = self._pass_on(asked, question)
        found = answer["data"]
        with self._lock:
            self.kinds.append(asked["kind"])
            for name in self.records if isinstance(found, dict) else ():
                self.records[name] += len(found.get(f"{name}s", ())) + (name in found)
        return answer

    def _pass_on(self, asked: dict[str, Any], question: str | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if question is not None:
            headers["Hitl-Capabilities"] = question
        request = urllib.request.Request(f"{self._upstream}/", json.dumps(asked).encode(), headers)
        try:
            with urllib.request.urlopen(request) as answered:
                answer: dict[str, Any] = json.load(answered)
        except urllib.error.HTTPError as refused:
            answer = json.load(refused)
        return answer
