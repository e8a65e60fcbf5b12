"""Runs blocking client calls in threads, for use from an event loop.

Each thread has its own client, which it opens on first use.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate

from hitl_cli import tracing
from hitl_cli.engine.wall_clock import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client

THREADS = 4
"""How many calls run at once. More would only wait for the same file."""


type _Asked[T, R] = tuple[T, asyncio.Future[R]]


class ClientPool:
    """Runs functions of a client in threads."""

    def __init__(self, open_client: Callable[[], Client], threads: int = THREADS) -> None:
        self._open_client = open_client
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="server")
        self._own = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()

    async def run[**P, T](
        self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of a function of a client, without blocking the event loop."""
        return await self.submit(lambda client: function(client, *args, **kwargs))

    def submit[T](self, function: Callable[[Client], T]) -> asyncio.Future[T]:
        """Return the future result of a function of a client."""
        loop = asyncio.get_running_loop()
        if tracing.current() is None:
            return loop.run_in_executor(self._pool, lambda: function(self._client()))
        here = contextvars.copy_context()  # so that the thread knows the current span
        return loop.run_in_executor(self._pool, lambda: here.run(function, self._client()))

    def now(self) -> int:
        """Return the current time in ms since the epoch: by the server's clock, once it was reached."""
        return self._clients[0].now() if self._clients else now_ms()

    def close(self) -> None:
        """Wait for the calls in progress, and close the clients. It may be called in an event loop."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._clients:
            with ThreadPoolExecutor(1) as closing:  # a client over HTTP has an event loop of its own
                list(closing.map(lambda client: client.close(), self._clients))

    def _client(self) -> Client:
        client: Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._open_client()
            self._own.client = client
            with self._lock:
                self._clients.append(client)
        return client


class InLoop:
    """Runs functions of a client in the event loop, for calls that are faster than a switch of threads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit[T](self, function: Callable[[Client], T]) -> asyncio.Future[T]:
        """Return the result of a function of the client."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            done.set_result(function(self._client))
        except Exception as error:  # noqa: BLE001 - raised to who awaits it
            done.set_exception(error)
        return done


class Batches[T, R]:
    """Collects what is asked while a call runs, and passes it all to the next call of a client's function.

    The function returns a result or an error for each. An exception of the function is raised to all callers.
    """

    def __init__(
        self, pool: ClientPool | InLoop, function: Callable[[Client, Sequence[T]], Sequence[R | Exception]]
    ) -> None:
        self._pool = pool
        self._function = function
        self._asked: list[_Asked[T, R]] = []
        self._running = False

    def ask(self, what: T) -> asyncio.Future[R]:
        """Return the future result for one item."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._asked.append((what, answer))
        if not self._running:
            self._running = True
            loop.call_soon(self._call, context=contextvars.Context())  # not to a span of one caller
        return answer

    def _call(self) -> None:
        asked, self._asked = self._asked, []
        self._running = bool(asked)
        if not asked:
            return
        what = [each for each, _ in asked]
        try:
            calling = self._pool.submit(lambda client: self._function(client, what))
        except RuntimeError as error:  # the pool is closed
            self._answer(asked, [error] * len(asked))
            self._call()
        else:
            calling.add_done_callback(lambda called: self._called(asked, called))

    def _called(self, asked: Sequence[_Asked[T, R]], called: asyncio.Future[Sequence[R | Exception]]) -> None:
        error = RuntimeError("the pool was closed") if called.cancelled() else called.exception()
        self._answer(asked, called.result() if error is None else [error] * len(asked))
        self._call()

    def _answer(self, asked: Sequence[_Asked[T, R]], results: Sequence[R | BaseException]) -> None:
        for (_, answer), result in zip(asked, results, strict=True):
            if answer.done():  # canceled
                continue
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set_result(result)
