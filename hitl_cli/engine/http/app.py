"""The engine over HTTP: `POST /` takes a request's envelope, `GET /poll/{group}/{id}` streams messages.

Requests and responses are the same bytes as in process; the HTTP status is that of the response. Every
response is sent after its commit.
"""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from aiohttp import ClientPayloadError, HttpVersion11, web
from msgspec import Struct
from multidict import CIMultiDict

from hitl_cli.engine import machine
from hitl_cli.engine.commit_loop import CommitLoop
from hitl_cli.engine.debug import DebugServer
from hitl_cli.engine.doorbell import PUSHERS
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.http.auth import Verifier, refusal
from hitl_cli.engine.http.hosts import is_here
from hitl_cli.engine.http.listener import bearer, connections_possible, listen, plain
from hitl_cli.engine.http.metrics import Metrics
from hitl_cli.engine.http.push import Pusher, PushRules
from hitl_cli.engine.http.streams import KEEPALIVE_S, Stream, Streams
from hitl_cli.engine.records import ASKS_CAPABILITIES, VALUE_MAX, TaskAcquire, TaskRef
from hitl_cli.engine.server import DEBUG, READS, RULES, Decoded, Server, decode, reply
from hitl_cli.engine.trace import Trace
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiohttp.web import BaseRequest, StreamResponse

    from hitl_cli.engine.doorbell import Bell
    from hitl_cli.engine.errors import FormatChanged
    from hitl_cli.engine.records import Reply
    from hitl_cli.engine.server import Batch, Extra, Subscriber
    from hitl_cli.engine.store import Transaction

BODY_MAX = VALUE_MAX + 1024 * 1024
"""Largest body of a request in bytes: the largest payload, with ids, tags and a token."""

OVERSIZED_MAX = 4 * VALUE_MAX
"""Largest body in bytes from a client with a token. A result that is too large then fails its run."""

BODY_S = 30.0
"""How long a request's body may take to arrive, in seconds."""

IDLE_S = 75.0
"""How long a connection may be idle, in seconds."""

CONNECTIONS_MAX = 4_096
STREAMS_MAX = 1_000
"""The Resonate Server's limit."""

NAME_MAX = 256
"""Most characters of the name of a group or a reader."""

GRACE_S = 5.0
"""How long requests in progress may take once the server is asked to stop, in seconds."""

SEND_BUFFER = 32 * 1024
"""Bytes that the system may buffer for a stream; what a slow reader has not taken stays in the file."""

COUNT_S = 5.0
"""How often waiting promises are counted at most, however often /metrics is requested, in seconds."""

JSON = "application/json"
ANSWERED = CIMultiDict({"Content-Type": JSON})


class Options(Struct, frozen=True, kw_only=True):
    """The options of a server."""

    path: Path
    host: str
    port: int
    verifier: Verifier | None = None
    push: PushRules = PushRules()
    debug: bool = False
    trace: Trace | None = None
    url: str | None = None
    """The URL of this server in posted messages; None for the one that it listens on."""


class HttpServer:
    """One process that serves a file. `run` returns once it was stopped."""

    def __init__(self, options: Options, clock: Callable[[], int] = now_ms) -> None:
        """Open the file. Raises FileUnusable, StorageFailed."""
        self._options = options
        self._clock = clock
        self._metrics = Metrics()
        self._streams = Streams(lambda: self._commit_loop, self._metrics)
        self._pusher = Pusher(lambda: self._commit_loop, options.push, self._metrics)
        kind = DebugServer if options.debug else Server
        self._commit_loop = CommitLoop(options.path, clock, self, kind(options.path, clock, options.trace))
        gauge = self._metrics.gauge
        gauge("hitl_streams", "Connections that messages are streamed to.", lambda: len(self._streams))
        gauge("hitl_posts", "Messages that are being posted.", lambda: len(self._pusher))
        gauge("hitl_promises_waiting", "Promises that only the outside can settle.", lambda: self._count()[0])
        gauge("hitl_tasks_pending", "Tasks on offer.", lambda: self._count()[1])
        self._stop = asyncio.Event()
        self._ended_by: FormatChanged | None = None
        self._counted_at = -COUNT_S
        self._counts = 0, 0
        self._handed_out = False

    async def run(self, serving: Callable[[str], None]) -> None:
        """Serve until stopped; `serving` is called with the server's URL once it is ready.

        Raises OSError, and FormatChanged if a newer version upgrades the file.
        """
        http = web.Server(
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE_S,
            auto_decompress=False,
        )
        try:
            options = self._options
            room = connections_possible(CONNECTIONS_MAX)
            listener, url = await listen(http, options.host, options.port, room)
            bell = self._commit_loop.hang(PUSHERS, f"{time.time_ns():x}-{id(self):x}")
            await self._pusher.start(options.url or url)
            beating = asyncio.create_task(self._beat())
            serving(url)
            await self._stop.wait()
            listener.close()
            http.pre_shutdown()
            await http.shutdown(GRACE_S)
            beating.cancel()
            await self._pusher.stop(GRACE_S)
            if self._ended_by is not None:
                raise self._ended_by
            self._give_back()
            self._commit_loop.unhang(bell)
        finally:
            self._commit_loop.close()

    def ended(self, error: FormatChanged) -> None:
        """Stop, and raise the error in `run`."""
        self._ended_by = error
        self._stop.set()

    def stop(self) -> None:
        """Accept no more requests, answer those in progress, and end."""
        self._stop.set()

    def _give_back(self) -> None:
        """Release the messages that were sent to streams but not acted on."""
        self._handed_out = True
        while self._handed_out and (self._streams.writing() or self._pusher.writing()):
            self._handed_out = False
            batch = self._commit_loop.server.run_batch([], (), self._hand_out)
            self.deliver(batch)
            self._commit_loop.ringer.ring(batch.offered, watchers=batch.settled)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_S)
            self._streams.keep_alive()

    # What a MessageOutlet offers

    @property
    def due(self) -> int:
        """When streams or posts need the next batch."""
        return min(self._streams.due, self._pusher.due)

    def subscribers(self) -> Sequence[Subscriber]:
        """Return no subscribers: `also` hands out messages."""
        return ()

    def also(self, requests: Sequence[Decoded]) -> Extra | None:
        """Return the action that hands out messages; None if the batch only reads and none is waiting."""
        self._handed_out = False
        now = self._commit_loop.now()
        if (
            requests
            and not self._streams.waiting(now)
            and not self._pusher.waiting(now)
            and all(request.kind in READS for request in requests)
        ):
            return None
        return self._hand_out

    def _hand_out(self, tx: Transaction) -> None:
        self._handed_out = True
        self._streams.hand_out(tx)
        self._pusher.hand_out(tx)

    def deliver(self, batch: Batch) -> None:
        """Send the messages of a batch."""
        self._metrics.batch()
        for messages in (self._streams, self._pusher):
            if self._handed_out:
                messages.commit()
            else:
                messages.put_off(batch)

    def others(self, offered: set[str]) -> Iterable[str]:
        """Return all addresses: other processes may listen at any of them."""
        return offered

    def rung(self, bell: Bell | None) -> None:
        """Look for messages that another process left."""
        self._streams.rung(bell)
        self._pusher.rung(bell)

    # Requests

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> BaseRequest:
        loop = asyncio.get_running_loop()
        size = BODY_MAX
        headers = message.headers
        length = headers.get("Content-Length", "")
        if length.isdecimal() and len(length) < NAME_MAX and int(length) > BODY_MAX and self._admits(headers):
            size = OVERSIZED_MAX
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=size)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        refused = self._foreign(request)
        if refused:
            return plain(403, refused)
        path = request.raw_path.partition("?")[0]
        if path in ("/", ""):
            if request.method != "POST":
                return plain(405, "POST a request's envelope here.", {"Allow": "POST"})
            return await self._answer(request)
        if request.method not in ("GET", "HEAD"):
            return plain(405, "only POST / takes requests", {"Allow": "GET"})
        match path.split("/")[1:]:
            case ["poll", group, id] if request.method == "GET":
                return await self._poll(request, unquote(group), unquote(id))
            case ["health"]:
                return plain(200, "ok")
            case ["ready"]:
                return self._ready()
            case ["metrics"]:
                return self._show_metrics(request)
        return plain(404, "not found: see POST /, /poll/{group}/{id}, /health, /ready, /metrics")

    def _foreign(self, request: BaseRequest) -> str | None:
        """Return why a request of a web page is refused; None if it is not.

        A page in a browser on this machine can send requests to local ports. With tokens that is harmless:
        the page has none. Without tokens, requests of browsers are refused, and requests to a name that is
        not this machine's, because the page may have pointed that name here (DNS rebinding).
        """
        headers = request.headers
        if self._options.verifier is not None:
            return None
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") or "Origin" in headers:
            return "requests from web pages are refused"
        host = headers.get("Host", "")
        if not is_here(host):
            return f"unknown host {host!r}: use localhost, or start the server with authentication"
        return None

    async def _answer(self, request: BaseRequest) -> web.Response:
        began = time.perf_counter()
        try:
            if request.content.is_eof():
                body = await request.read()
            else:
                async with asyncio.timeout(BODY_S):
                    body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(
                413,
                f"the request is too large: the data of a promise may have {VALUE_MAX} bytes at most",
                began,
            )
        except TimeoutError:
            return self._refuse(408, f"the request did not arrive within {BODY_S:.0f} s", began)
        except ClientPayloadError:
            return self._refuse(400, "the request body is malformed", began)
        decoded = decode(body)
        answer = self._refusal(request, body, decoded) or await self._decide(decoded)
        self._metrics.request(decoded.kind, answer.status, time.perf_counter() - began)
        body = reply(decoded, answer, telling=ASKS_CAPABILITIES in request.headers)
        return web.Response(body=body, status=answer.status, headers=ANSWERED)

    async def _decide(self, decoded: Decoded) -> Reply:
        if isinstance(decoded.data, TaskAcquire):
            self._streams.acquired(decoded.data.id)
        elif decoded.kind == "task.release" and isinstance(decoded.data, TaskRef):
            self._streams.released(decoded.data.id, decoded.data.version)
        try:
            return await self._commit_loop.decide(decoded)
        except EngineError as error:
            return machine.refuse(503, str(error))

    def _refusal(self, request: BaseRequest, body: bytes, decoded: Decoded) -> Reply | None:
        """Return why a request is refused before it is decoded. The token is in its head or HTTP header."""
        known = decoded.kind in RULES or decoded.kind in DEBUG
        malformed = decoded.known is not None and decoded.kind not in DEBUG
        verifier = self._options.verifier
        if verifier is not None:
            claims = verifier.verify(_token_in(body) or bearer(request.headers), self._clock() / 1_000)
            if claims is None or not malformed:
                refused = refusal(claims, decoded.kind, decoded.data)
                if refused is not None:
                    return refused
        return None if known else decoded.known

    def _admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request has a valid token in its HTTP headers, if the server requires one."""
        verifier = self._options.verifier
        return verifier is None or verifier.verify(bearer(headers), self._clock() / 1_000) is not None

    def _refuse(self, status: int, message: str, began: float) -> web.Response:
        """Refuse a request that was not read to its end, and close the connection."""
        self._metrics.request("error", status, time.perf_counter() - began)
        answer = reply(Decoded("error", "", None), machine.refuse(400, message))
        response = web.Response(body=answer, status=status, content_type=JSON)
        response.force_close()
        return response

    # Streams

    async def _poll(self, request: BaseRequest, group: str, id: str) -> StreamResponse:
        if not self._admits(request.headers):
            return plain(401, "unauthorized: the token is missing, invalid or expired")
        if not (_is_name(group) and _is_name(id)):
            return plain(
                400, f"a group and an id are 1 to {NAME_MAX} printable characters, without '/' and '@'"
            )
        if request.version < HttpVersion11:
            return plain(505, "a stream takes HTTP/1.1")
        if len(self._streams) >= STREAMS_MAX:
            return plain(503, f"there are {STREAMS_MAX} streams already")
        if self._stop.is_set():
            return plain(503, "the server is stopping")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b": here\n\n")  # which sends the head
        transport = request.transport
        if transport is None:
            return response
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        stream = Stream(group, id, transport)
        self._streams.add(stream)
        try:
            await self._stop.wait()
        finally:
            self._streams.remove(stream)
        return response

    # How it is

    def _ready(self) -> web.Response:
        try:
            self._commit_loop.server.store.data_version()
        except EngineError as error:
            return plain(503, str(error))
        return plain(200, "ready")

    def _show_metrics(self, request: BaseRequest) -> web.Response:
        if not self._admits(request.headers):
            return plain(401, "unauthorized: the token is missing, invalid or expired")
        text = self._metrics.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _count(self) -> tuple[int, int]:
        """Return the number of waiting promises and tasks, counted every few seconds at most."""
        moment = time.monotonic()
        if moment >= self._counted_at + COUNT_S:
            self._counts = self._commit_loop.server.store.waiting_counts()
            self._counted_at = moment
        return self._counts


class _AuthHead(Struct, frozen=True):
    auth: str | None = None


class _Authorized(Struct, frozen=True):
    head: _AuthHead = _AuthHead()


_authorized = msgspec.json.Decoder(inspected(_Authorized))


def _token_in(body: bytes) -> str | None:
    """Return the token in a request's head."""
    try:
        return _authorized.decode(body).head.auth
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _is_name(text: str) -> bool:
    """Whether a group or a reader can have that name."""
    return 0 < len(text) <= NAME_MAX and text.isprintable() and not set("/@") & set(text)
