"""The requests of one turn of the event loop in one transaction, over a few connections.

The commit and the round trip are most of the cost of a request, and requests in one transaction share both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from resonate_base import ConnectorError

from hitl_cli.postgres.client import AGAIN, MANY
from hitl_cli.postgres.connecting import options_of
from hitl_cli.postgres.errors import READ_ONLY, explained

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

LANES = 2
"""Connections at once: while one waits for its commit, the other one works. More only wait for each other."""

LONGEST_BATCH = 64

RETRIES_S = (0.1, 0.3, 0.6, 1.0)
"""How long to wait for a server that is away before each new try; then the last one again and again."""

PATIENCE_S = 30.0
"""How long a server may be away. Where a request fails, a step that has ended may run again."""

_answers = msgspec.json.Decoder(list[msgspec.Raw])

type _Waiting = tuple[str, asyncio.Future[bytes]]


class Turns:
    """Asks a server what is asked in one turn of the event loop together."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._waiting: deque[_Waiting] = deque()
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._asked = False

    def ask(self, request: str) -> asyncio.Future[bytes]:
        """Return what will be the answer. It raises ConnectorError if the server stays away."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((request, answered))
        if not self._asked:
            self._asked = True
            loop.call_soon(self._send)
        return answered

    async def query(self, statement: bytes, values: Sequence[object]) -> Any:
        """Return the first column of the one row of a statement. Raises psycopg.Error."""
        connection = await self._connection()
        try:
            row = await (await connection.execute(statement, values, prepare=True)).fetchone()
        except BaseException:
            await connection.close()
            raise
        self._free.append(connection)
        assert row is not None
        return row[0]

    def close(self) -> None:
        """Drop the connections; a request that is in hand is answered by the error of that."""
        for connection in self._free:
            with contextlib.suppress(psycopg.Error):
                connection.pgconn.finish()
        self._free.clear()

    def _send(self) -> None:
        """Share what waits among the lanes that are free."""
        self._asked = False
        while self._waiting and len(self._sending) < LANES:
            free = LANES - len(self._sending)
            size = min(LONGEST_BATCH, -(-len(self._waiting) // free))
            batch = [self._waiting.popleft() for _ in range(size)]
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("requests could not be sent", exc_info=error)
        if self._waiting and not self._asked:
            self._send()

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Answer the requests of a batch; all of them may be asked twice."""
        try:
            answers = await self._answers([request for request, _ in batch])
        except psycopg.Error as error:
            failure = ConnectorError(explained(error, self._name))
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(failure)
            return
        for (_, answered), answer in zip(batch, answers, strict=True):
            if not answered.done():
                answered.set_result(bytes(answer))

    async def _answers(self, requests: list[str]) -> list[msgspec.Raw]:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        for pause_s in chain(RETRIES_S, repeat(RETRIES_S[-1])):
            try:
                return _answers.decode(await self.query(MANY.encode(), (requests,)))
            except psycopg.Error as error:
                if not _passes(error) or loop.time() + pause_s > end:
                    raise
                await asyncio.sleep(pause_s)
        raise AssertionError

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        return await connect(self._url)


def _passes(error: psycopg.Error) -> bool:
    """Whether a request that failed may be answered later: the server restarts, or another one takes over."""
    return isinstance(error, psycopg.OperationalError) or error.sqlstate in AGAIN | {READ_ONLY}


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """Return a connection of a worker. Raises psycopg.Error."""
    return await psycopg.AsyncConnection.connect(**options_of(url, application_name="hitl worker"))
