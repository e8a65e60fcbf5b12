"""The kinds of server that tests run on (`--server`), and how a test sets the time on each."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.client.connect import connect, driver_of
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.http import HttpClient
from hitl_cli.engine.http.app import HttpServer, Options
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.postgres.client import PostgresClient
from tests.conftest import PATIENCE_S, wait_until
from tests.moved_database import make_movable, move
from tests.recovery.processes import MovedClock, start
from tests.recovery.storm import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from resonate_base import Network

    from hitl_cli.client.protocol import Client, ProtocolRequest, ProtocolResponse
    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster


class DatabaseClock(MovedClock):
    """A clock that a test moves, and that of a database."""

    def __init__(self, file: Path, url: str) -> None:
        self._url = url
        make_movable(url)
        super().__init__(file)

    def move(self, ms: int) -> None:
        """Set both."""
        super().move(ms)
        move(self._url, ms)


def moved_clock(hitl: Hitl) -> MovedClock:
    """Return the clock of the test's server, and of processes that install it."""
    file = hitl.folder / "clock"
    return DatabaseClock(file, hitl.url) if hitl.url.startswith("postgresql://") else MovedClock(file)


def use_database(cluster: Cluster, hitl: Hitl) -> Callable[[], None]:
    """Use a new database; return what drops it."""
    url = cluster.create_installed()
    hitl.use(url)
    return lambda: cluster.drop(url)


def serve_file(hitl: Hitl) -> Callable[[], None]:
    """Have `hitl server` serve the test's file, by the clock of `moved_clock`; return what ends it."""
    out, err = hitl.folder / "server.out", hitl.folder / "server.err"
    args = ("server", "--port", "0", "--debug", "-S", hitl.url)
    process = start(_serve, MovedClock(hitl.folder / "clock"), hitl.env, out, err, *args)
    line = wait_until(lambda: out.read_text() if out.exists() else "")
    hitl.use(line.split(" on ", 1)[1].split()[0])
    return process.kill


@contextmanager
def serving(file: Path) -> Iterator[str]:
    """Serve a file over HTTP in a thread, as `hitl server` does in a process, and yield the URL."""
    server = HttpServer(Options(path=file, host="127.0.0.1", port=0))
    loop, urls = asyncio.new_event_loop(), Queue[str]()
    thread = Thread(target=loop.run_until_complete, args=(server.run(urls.put),))
    thread.start()
    try:
        yield urls.get(timeout=PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
        loop.close()


def _serve(clock: MovedClock, env: Mapping[str, str], *args: Any) -> None:
    clock.install()
    run_command(env, *args)


def connect_at(url: str, clock: Callable[[], int] | None) -> Client:
    """Return a client whose requests are made at the time that a clock shows.

    Over HTTP, it may be used in the thread of a browser's event loop too.
    """
    match driver_of(url).file(url), url.partition(":")[0]:
        case None, "postgresql":
            return _PostgresAt(url, clock or now_ms)
        case None, "http":
            return _HttpAt(url, clock)
        case path, "sqlite" if path is not None:
            return EmbeddedClient(path, clock or now_ms)
    return connect(url)


class _HttpAt(HttpClient):
    def __init__(self, url: str, clock: Callable[[], int] | None) -> None:
        super().__init__(url, None)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1)
        if clock is not None:
            self._connection = _Dated(self._connection, clock)  # type: ignore[assignment]

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        return self._thread.submit(super().call_many, requests).result()

    def close(self) -> None:
        self._thread.submit(super().close).result()
        self._thread.shutdown()

    def now(self) -> int:
        return super().now() if self._clock is None else self._clock()


class _PostgresAt(PostgresClient):
    def __init__(self, url: str, clock: Callable[[], int]) -> None:
        self._clock = clock
        super().__init__(url)

    def now(self) -> int:
        return self._clock()

    def _ask(self, texts: list[str]) -> list[msgspec.Raw]:
        return super()._ask([_dated(text, self._clock()) for text in texts])


class _Dated:
    """An SDK network whose requests are dated."""

    def __init__(self, network: Network, clock: Callable[[], int]) -> None:
        self._network = network
        self._clock = clock

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        return await self._network.send(_dated(req, self._clock()), headers)

    async def stop(self) -> None:
        await self._network.stop()


def _dated(request: str, now: int) -> str:
    """Return a request that is made at this time, for servers that are told to believe it."""
    asked: dict[str, Any] = msgspec.json.decode(request)
    asked["head"]["resonate:debug_time"] = now
    return msgspec.json.encode(asked).decode()
