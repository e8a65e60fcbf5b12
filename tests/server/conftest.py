"""Fixtures: `hitl server` in a process of its own, and plain clients of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import HITL, PATIENCE_S, WorkerProcess, wait_until
from tests.postgres.cluster import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.conftest import Hitl

ROOT = Path(__file__).parents[2]
STAND_IN = str(Path(__file__).with_name("resonate_server.py"))
GROUP = "workers"
ADDRESS = f"poll://any@{GROUP}"
TARGETED = {"resonate:target": ADDRESS}
EXTERNAL = {"resonate:external": "true"}
LIFE_MS = 3_600_000


class Reader:
    """One connection of GET /poll: what it has read so far, as fast as `pace_s` lets it."""

    def __init__(self, url: str, group: str, id: str, *, pace_s: float = 0.0, chunk: int = 65_536) -> None:
        self.messages: list[dict[str, Any]] = []
        self.pace_s = pace_s
        self.ended = threading.Event()
        self.ready = threading.Event()
        self._gone = threading.Event()
        parts = urlsplit(url)
        self._socket = socket.socket()
        if pace_s:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect((parts.hostname or "", parts.port or 80))
        head = f"GET /poll/{group}/{id} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n\r\n"
        self._socket.sendall(head.encode())
        self._chunk = chunk
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.ready.wait(PATIENCE_S)

    def _read(self) -> None:
        response = http.client.HTTPResponse(self._socket)
        try:
            response.begin()
            assert response.status == 200, response.status
            for line in iter(response.readline, b""):
                self.ready.set()
                if line.startswith(b"data:"):
                    self.messages.append(json.loads(line[5:]))
                    if self.pace_s:
                        self._gone.wait(self.pace_s)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self.ended.set()

    def tasks(self) -> list[tuple[str, int]]:
        """Return id and version of the tasks it was offered, in order."""
        found = [m["data"]["task"] for m in list(self.messages) if m["kind"] == "execute"]
        return [(task["id"], task["version"]) for task in found]

    def words(self) -> list[str]:
        """Return the ids of the promises it was told of, in order."""
        return [m["data"]["promise"]["id"] for m in list(self.messages) if m["kind"] == "unblock"]

    def vanish(self) -> None:
        """End the connection without a word."""
        self._gone.set()
        self.pace_s = 0
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE_S)


class Served:
    """A server, and short ways to ask it things."""

    def __init__(self, process: WorkerProcess, url: str) -> None:
        self.process = process
        self.url = url
        self.netloc = urlsplit(url).netloc
        self.readers: list[Reader] = []

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of one HTTP request."""
        connection = http.client.HTTPConnection(self.netloc, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Return the HTTP status and the answer's envelope."""
        status, answered, raw = self.raw("POST", "/", body, headers)
        assert answered["content-type"].startswith("application/json")
        return status, json.loads(raw)

    def send(
        self, kind: str, data: Mapping[str, Any], head: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Send one request and return the answer's status and data."""
        status, answer = self.post(envelope(kind, data, head))
        assert status == answer["head"]["status"]
        assert answer["kind"] == kind
        assert answer["head"]["corrId"] == "c"
        return status, answer["data"]

    def ok(self, kind: str, /, **data: Any) -> Any:
        """Send one request that must succeed, and return the answer's data."""
        status, answer = self.send(kind, data)
        assert status == 200, answer
        return answer

    def create(self, id: str, tags: Mapping[str, str] = TARGETED) -> Any:
        """Create a promise."""
        return self.ok("promise.create", id=id, timeoutAt=now_ms() + LIFE_MS, tags=tags)["promise"]

    def acquire(self, id: str, version: int, pid: str = "w") -> tuple[int, Any]:
        """Acquire a task."""
        return self.send("task.acquire", {"id": id, "version": version, "pid": pid, "ttl": 60_000})

    def reader(self, group: str = GROUP, id: str = "r", **options: Any) -> Reader:
        """Open a stream."""
        self.readers.append(Reader(self.url, group, id, **options))
        return self.readers[-1]

    def metric(self, line: str) -> float:
        """Return a figure of /metrics."""
        text = self.raw("GET", "/metrics")[2].decode()
        return next(
            (float(each.split()[-1]) for each in text.splitlines() if each.startswith(f"{line} ")), 0.0
        )


def envelope(kind: str, data: Any, head: Mapping[str, Any] | None = None) -> bytes:
    """Return a request as an SDK sends it."""
    head = {"corrId": "c", "version": "2026-04-01"} | dict(head or {})
    return json.dumps({"kind": kind, "head": head, "data": data}).encode()


@pytest.fixture
def serve(hitl: Hitl) -> Iterator[Callable[..., Served]]:
    """Start a server on the test's file; it ends with the test."""
    started: list[Served] = []

    def start(*args: str, port: int = 0) -> Served:
        command = [HITL, "server", "--port", str(port), "-S", hitl.url, *args]
        process = WorkerProcess(command, hitl.env, hitl.folder)
        hitl.workers.append(process)
        line = wait_until(lambda: next(iter(process.lines), "") or process.process.poll() is not None)
        assert isinstance(line, str), process.errors
        started.append(Served(process, line.split(" on ", 1)[1].split()[0]))
        return started[-1]

    yield start
    for each in started:
        for reader in each.readers:
            if not reader.ended.is_set():
                reader.vanish()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """A server on a fresh file."""
    return serve()


def stand_in(hitl: Hitl, *args: str) -> str:
    """Start the server that answers as a Resonate Server does, and return its URL."""
    command = [sys.executable, STAND_IN, str(hitl.database), *args]
    return _serving(hitl, command, "serving on ", ROOT)


def official(hitl: Hitl, *args: str) -> str:
    """Start the Resonate Server that HITL_RESONATE_SERVER names, and return its URL."""
    program = os.environ.get("HITL_RESONATE_SERVER")
    if program is None:
        pytest.skip("no Resonate Server here: name its program in HITL_RESONATE_SERVER")
    port = free_port()
    command = [program, "serve", "--server-bind", "127.0.0.1", "--server-port", str(port)]
    command += [
        "--observability-metrics-port",
        "0",
        "--storage-sqlite-path",
        str(hitl.folder / "resonate.db"),
    ]
    _serving(hitl, [*command, *args], "listening", hitl.folder)
    return f"http://127.0.0.1:{port}"


def _serving(hitl: Hitl, command: list[str], word: str, folder: Path) -> str:
    """Start a server and return what it says after a word, or anything if it is ready."""
    process = WorkerProcess(command, hitl.env, folder)
    hitl.workers.append(process)
    line = process.said(word)
    return line.partition(word)[2].strip()


@pytest.fixture(params=["stand-in", "official"])
def resonate_server(hitl: Hitl, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Starts a Resonate Server that takes our ids, or what stands in for it; returns its URL."""

    def start(*args: str) -> str:
        url = (official if request.param == "official" else stand_in)(hitl, *args)
        hitl.use(url)
        return url

    return start
