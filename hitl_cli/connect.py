"""From a server's URL to what speaks to it: a client for people's commands, connections for workers.

A URL is `sqlite:///path` (the embedded engine; `sqlite:////path` is absolute) or `http(s)://host`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.engine.doorbell import WATCHERS, Bell, Ringer
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.records import Value
from hitl_cli.engine.server import Server, encode_request, now_ms
from hitl_cli.errors import BadInput, Conflict, HitlError, NotFound, Unreachable
from hitl_cli.wire import Promise, Task

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from resonate_base import Network, Source

HTTP_POLL_S = 0.25
"""How often a command that waits asks an HTTP server."""

PAGE = 1_000
"""Records asked for at once when a list is read whole."""

OK = 200
NO_SUCH = 404
UNAUTHORIZED = (401, 403)


class Request(Struct, frozen=True):
    """One request of the protocol: its kind and its data."""

    kind: str
    data: dict[str, Any]


class Answer(Struct, frozen=True):
    """An answer: the status, and the data as it came."""

    status: int
    data: msgspec.Raw

    def message(self) -> str:
        """Return the message of an error."""
        try:
            return msgspec.json.decode(self.data, type=str)
        except msgspec.DecodeError:
            return f"status {self.status}"


class Client(Protocol):
    """What people's commands need of a server. All calls block; none is for an event loop."""

    name: str
    """The server's URL, without secrets."""

    embedded: bool
    """Whether it is our engine, whose searches know `root` and `sort` and find every open promise."""

    def call_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer the requests, in order. Raises Unreachable."""

    def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, or after `timeout_s` seconds."""

    def now(self) -> int:
        """Return the present in ms since the epoch."""

    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group listens; None where the server cannot tell."""

    def close(self) -> None:
        """Let go of the server."""

    def __enter__(self) -> Client: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Head(Struct, frozen=True):
    status: int = 200


class _Response(Struct, frozen=True):
    head: _Head = _Head()
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _PromiseData(Struct, frozen=True):
    promise: Promise


class _TaskData(Struct, frozen=True):
    task: Task


class Page(Struct, frozen=True):
    """A page of promises, and the cursor of the next one."""

    promises: list[Promise]
    cursor: str | None = None


_response = msgspec.json.Decoder(_Response)
_promise = msgspec.json.Decoder(_PromiseData)
_promises = msgspec.json.Decoder(Page)
_task = msgspec.json.Decoder(_TaskData)


def read(raw: bytes | str) -> Answer:
    """Return an answer from its envelope."""
    try:
        response = _response.decode(raw)
    except msgspec.DecodeError as error:
        raise Unreachable(f"what answered is no Resonate server: {error}.") from error
    if response.head.status in UNAUTHORIZED:
        raise Unreachable("the server refused the token. Give another with --token or RESONATE_TOKEN.")
    return Answer(response.head.status, response.data)


class ClosingClient:
    """A client that `with` closes."""

    def __enter__(self) -> Client:
        return self  # type: ignore[return-value]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server."""


class EmbeddedClient(ClosingClient):
    """A client of the engine in this process."""

    embedded = True

    def __init__(self, path: Path, clock: Callable[[], int] = now_ms) -> None:
        """Open the file. Raises Unreachable."""
        self.name = f"sqlite:///{path}"
        self._path = path
        self._clock = clock
        try:
            self._server = Server(path, clock)
        except EngineError as error:
            raise Unreachable(str(error)) from error
        self._ringer = Ringer(path)
        self._bell: Bell | None = None

    def call_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer the requests, all in one transaction."""
        try:
            turn = self._server.turn([encode_request(request.kind, request.data) for request in requests])
        except EngineError as error:
            raise Unreachable(str(error)) from error
        self._ringer.ring(turn.offered, watchers=turn.settled, everyone=turn.sooner)
        return [read(answer) for answer in turn.answers]

    def wait(self, timeout_s: float) -> None:
        """Return when another process committed, or after `timeout_s` seconds at the latest.

        The first call hangs the bell and returns at once: what happened before cannot be heard.
        """
        if self._bell is None:
            self._bell = Bell(self._path, WATCHERS, f"{time.time_ns():x}-{id(self):x}")
        else:
            self._bell.wait(timeout_s)

    def now(self) -> int:
        """Return the present in ms since the epoch."""
        return self._clock()

    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group listens."""
        return self._ringer.hears(group)

    def close(self) -> None:
        """Close the file."""
        if self._bell is not None:
            self._bell.close()
        self._ringer.close()
        self._server.close()


class HttpClient(ClosingClient):
    """A client of a Resonate server over HTTP, by the SDK's own connection."""

    embedded = False

    def __init__(self, url: str, token: str | None) -> None:
        import asyncio  # noqa: PLC0415 - only these servers need it

        from resonate.connections import HttpConnection  # noqa: PLC0415

        self.name = url
        self._loop = asyncio.Runner()
        self._connection = HttpConnection(url=url, auth=token)
        self._token = token

    def call_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer the requests, sent at once."""
        return self._loop.run(self._send_all(requests))

    async def _send_all(self, requests: Sequence[Request]) -> list[Answer]:
        import asyncio  # noqa: PLC0415

        return list(await asyncio.gather(*(self._send(request) for request in requests)))

    async def _send(self, request: Request) -> Answer:
        from resonate_base import ResonateError  # noqa: PLC0415

        try:
            return await send(self._connection, request, self._token)
        except (ResonateError, OSError) as error:
            raise Unreachable(f"{self.name} cannot be reached: {error}.") from error

    def wait(self, timeout_s: float) -> None:
        """Sleep until it is time to ask again."""
        time.sleep(min(timeout_s, HTTP_POLL_S))

    def now(self) -> int:
        """Return the present in ms since the epoch."""
        return now_ms()

    def has_worker(self, group: str) -> bool | None:  # noqa: ARG002
        """Return None: the protocol does not tell."""
        return None

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._connection.stop())
        self._loop.close()


class Link(Struct, frozen=True):
    """What a worker speaks to a server through: the SDK's two seams, and how to let go of them."""

    name: str
    network: Network
    source: Source
    poke: Callable[[], None]
    """Say that there is room again."""
    close: Callable[[], None]


def worker_link(
    url: str,
    token: str | None,
    *,
    group: str,
    pid: str,
    room: Callable[[], int],
    wants: Callable[[str, Value], bool],
) -> Link:
    """Return a worker's connections. `room` says how many tasks it can start now, `wants` whether it
    can run the call in a promise's param. Raises BadInput, Unreachable.
    """
    if urlsplit(url).scheme in ("http", "https"):
        return http_link(url, token, group, pid, wants)
    return embedded_link(database_path(url), group, pid, room, wants)


def embedded_link(
    path: Path, group: str, pid: str, room: Callable[[], int], wants: Callable[[str, Value], bool]
) -> Link:
    """Return a worker's connection to the engine in this process."""
    from hitl_cli.engine.network import EmbeddedConnection  # noqa: PLC0415 - imports asyncio

    value = msgspec.json.Decoder(Value)
    try:
        connection = EmbeddedConnection(
            path, group=group, pid=pid, room=room, wants=lambda promise: wants(promise.id, value.decode(promise.param))
        )
    except EngineError as error:
        raise Unreachable(str(error)) from error
    return Link(f"sqlite:///{path}", connection, connection, connection.poke, connection.close)


def http_link(url: str, token: str | None, group: str, pid: str, wants: Callable[[str, Value], bool]) -> Link:
    """Return a worker's connections to a Resonate server over HTTP: the SDK's own."""
    from resonate.connections import HttpConnection, SSEConnection  # noqa: PLC0415 - imports aiohttp

    network = HttpConnection(url=url, auth=token)
    source = ChoosingSource(SSEConnection(url=url, pid=pid, group=group, auth=token), network, wants)
    return Link(url, network, source, lambda: None, lambda: None)


class ChoosingSource:
    """A source that passes on only the tasks whose function is served here.

    What is not passed on, the server offers again after a while. Were it passed on, the SDK would
    release it, the server would offer it at once, and so on without end.
    """

    def __init__(self, source: Source, network: Network, wants: Callable[[str, Value], bool]) -> None:
        self._source = source
        self._network = network
        self._wants = wants
        self._callbacks: list[Callable[[str], None]] = []
        self._choosing: set[asyncio.Task[None]] = set()
        source.recv(self._received)

    def unicast(self) -> str:
        """Return the address of this process alone."""
        return self._source.unicast()

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return self._source.resolve_target(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Have messages handed to the callback."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Begin to receive messages."""
        await self._source.start()

    async def stop(self) -> None:
        """Receive no more messages."""
        self._callbacks.clear()
        await self._source.stop()

    def _received(self, text: str) -> None:
        import asyncio  # noqa: PLC0415

        task = asyncio.get_running_loop().create_task(self._choose(text))
        self._choosing.add(task)
        task.add_done_callback(self._choosing.discard)

    async def _choose(self, text: str) -> None:
        message = msgspec.json.decode(text, type=_Message)
        if message.kind == "execute" and message.data.task is not None:
            answer = await send(self._network, Request("promise.get", {"id": message.data.task.id}), None)
            if answer.status == OK:
                promise = as_promise(answer)
                if not self._wants(promise.id, promise.param or Value()):
                    return
        for callback in self._callbacks:
            callback(text)


class _TaskId(Struct, frozen=True):
    id: str


class _MessageData(Struct, frozen=True):
    task: _TaskId | None = None


class _Message(Struct, frozen=True):
    kind: str
    data: _MessageData = _MessageData()


async def send(network: Network, request: Request, token: str | None) -> Answer:
    """Send one request over an SDK network. Raises ResonateError."""
    import uuid  # noqa: PLC0415

    from resonate_base import ORIGIN_HEADER, PROTOCOL_VERSION  # noqa: PLC0415

    head = {"corrId": uuid.uuid4().hex, "version": PROTOCOL_VERSION} | ({"auth": token} if token else {})
    envelope = {"kind": request.kind, "head": head, "data": request.data}
    routed_by = str(request.data.get("id") or request.data.get("awaited") or "default")
    body = msgspec.json.encode(envelope).decode()
    return read(await network.send(body, {ORIGIN_HEADER: routed_by.split(":", 1)[0]}))


def connect(url: str, token: str | None = None) -> Client:
    """Return a client for people's commands. Raises BadInput, Unreachable."""
    if urlsplit(url).scheme in ("http", "https"):
        return HttpClient(url, token)
    return EmbeddedClient(database_path(url))


def database_path(url: str) -> Path:
    """Return the file that a `sqlite:///` URL names. Raises BadInput for any other URL."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        kind = f"{parts.scheme}://" if parts.scheme else repr(url)
        raise BadInput(f"{kind} is not a kind of server hitl knows: use sqlite:///path or http(s)://host.")
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path or "\0" in path:
        raise BadInput(f"{url!r} names no file: write sqlite:///relative/path or sqlite:////absolute/path.")
    return Path(path).expanduser().absolute()


# One request at a time


def call(client: Client, kind: str, **data: Any) -> Answer:
    """Answer one request."""
    return client.call_many([Request(kind, data)])[0]


def refused(answer: Answer) -> HitlError:
    """Return the error that an answer means."""
    match answer.status:
        case 404:
            return NotFound(f"{answer.message()}.")
        case 400 | 422:
            return BadInput(f"the server refused this: {answer.message()}.")
        case 409:
            return Conflict(f"{answer.message()}.")
        case _:
            return Unreachable(f"the server failed: {answer.message()} (status {answer.status}).")


def as_promise(answer: Answer) -> Promise:
    """Return the promise in an answer. Raises NotFound and others."""
    if answer.status != OK:
        raise refused(answer)
    return _promise.decode(answer.data).promise


def as_page(answer: Answer) -> Page:
    """Return the page in the answer of a search."""
    if answer.status != OK:
        raise refused(answer)
    return _promises.decode(answer.data)


def get_promises(client: Client, ids: Sequence[str]) -> dict[str, Promise]:
    """Return those of the promises that exist, by id."""
    if not ids:
        return {}
    answers = client.call_many([Request("promise.get", {"id": id}) for id in ids])  # noqa: A001
    return {id: as_promise(answer) for id, answer in zip(ids, answers, strict=True) if answer.status != NO_SUCH}  # noqa: A001


def get_promise(client: Client, id: str) -> Promise | None:  # noqa: A002
    """Return the promise, or None."""
    return get_promises(client, [id]).get(id)


def get_tasks(client: Client, ids: Sequence[str]) -> dict[str, Task]:
    """Return those of the tasks that exist, by id."""
    answers = client.call_many([Request("task.get", {"id": id}) for id in ids]) if ids else []  # noqa: A001
    return {id: _task.decode(a.data).task for id, a in zip(ids, answers, strict=True) if a.status == OK}  # noqa: A001


def search_pages(client: Client, size: int | None = None, **query: Any) -> Iterator[list[Promise]]:
    """Yield pages of up to `size` promises that match; `query` is promise.search's data."""
    cursor: str | None = None
    while True:
        page = {"limit": min(size or PAGE, PAGE)} | ({"cursor": cursor} if cursor else {})
        answer = call(client, "promise.search", **query, **page)
        found = as_page(answer)
        yield found.promises
        cursor = found.cursor
        if cursor is None:
            return


def search(client: Client, **query: Any) -> list[Promise]:
    """Return all promises that match."""
    return [promise for page in search_pages(client, **query) for promise in page]
