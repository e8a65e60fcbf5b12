"""A stand-in for a model's API on loopback (Responses API, streaming), to drive the real Codex.

The first turn runs a command; each later turn ends the session.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeResponses:
    """A model that wants to run one command once. `told` is what it was told of it."""

    def __init__(self, command: str) -> None:
        self.call = {
            "type": "function_call",
            "id": "f1",
            "call_id": "call_fake1",
            "name": "exec_command",
            "arguments": json.dumps({"cmd": command}),
        }
        self.told: list[str] = []
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def item(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return what the model says."""
        told = [one["output"] for one in body.get("input", []) if one.get("type") == "function_call_output"]
        if not told:
            return self.call
        self.told = [json.dumps(one) for one in told]
        said = [{"type": "output_text", "text": "done"}]
        return {"type": "message", "role": "assistant", "id": "m1", "content": said}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: FakeResponses

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.done", "output_index": 0, "item": self.model.item(body)},
            {"type": "response.completed", "response": {"id": "r", "usage": usage}},
        ]
        stream = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
        self._send(stream, "text/event-stream")

    def do_GET(self) -> None:
        self._send("{}", "application/json")

    def _send(self, text: str, kind: str) -> None:
        raw = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
