"""A stand-in for a model's API on loopback (Messages API, streaming), to drive a real coding agent.

The first turn calls a tool; each later turn says what it was told.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeModel:
    """A model that wants to use one tool once."""

    def __init__(self, tool: str, tool_input: dict[str, Any]) -> None:
        self.tool, self.tool_input = tool, tool_input
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def turn(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Return the block, its delta and why the turn stops."""
        told = [
            part
            for message in body["messages"]
            if message["role"] == "user" and isinstance(message["content"], list)
            for part in message["content"]
            if part.get("type") == "tool_result"
        ]
        if told or self.tool not in [one.get("name") for one in body.get("tools", [])]:
            said = json.dumps(told[-1].get("content")) if told else "nothing to do"
            return {"type": "text", "text": ""}, {"type": "text_delta", "text": said}, "end_turn"
        block = {"type": "tool_use", "id": "toolu_01fake0001", "name": self.tool, "input": {}}
        return block, {"type": "input_json_delta", "partial_json": json.dumps(self.tool_input)}, "tool_use"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: FakeModel

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if "count_tokens" in self.path:
            return self._send(json.dumps({"input_tokens": 10}), "application/json")
        if "messages" not in self.path:
            return self._send("{}", "application/json")
        block, delta, stop = self.model.turn(body)
        usage = {"input_tokens": 10, "output_tokens": 1}
        message: dict[str, Any] = {"id": "msg", "type": "message", "role": "assistant", "model": "fake"}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        if not body.get("stream"):
            text = {"type": "text", "text": delta.get("text", "")}
            used = {**block, "input": self.model.tool_input}
            whole = {**message, "content": [used if stop == "tool_use" else text], "stop_reason": stop}
            return self._send(json.dumps(whole), "application/json")
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ]
        stream = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
        return self._send(stream, "text/event-stream")

    def do_GET(self) -> None:
        self._send("{}", "application/json")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def _send(self, text: str, kind: str) -> None:
        raw = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
