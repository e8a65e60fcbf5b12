"""A connection for the few statements that a worker repeats, by calls of libpq itself.

`psycopg.AsyncConnection.execute` would take four turns of the event loop and three times the CPU, and
`notifies` would wake up ten times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING, Any

import psycopg
from msgspec import Struct
from psycopg import errors
from psycopg.pq import ExecStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGresult

TEXT, TEXTS, BIGINT, BIGINTS = 25, 1009, 20, 1016
"""The numbers that PostgreSQL has for types."""

_ARRAY = struct.Struct("!iiiii")
_LENGTH = struct.Struct("!i")


class Statement(Struct, frozen=True):
    """A statement that is prepared once on each connection. Its answer is one text."""

    name: bytes
    text: bytes
    types: tuple[int, ...]


class Lane:
    """A connection that answers one statement at a time."""

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], notified: Callable[[], None] = lambda: None
    ) -> None:
        """`notified` is called once for each notification of what the connection listens for."""
        self._connection = connection
        self._notified = notified
        self._broken = asyncio.Event()
        self._libpq = connection.pgconn
        self._socket = self._libpq.socket
        self._loop = asyncio.get_running_loop()
        self._prepared: set[bytes] = set()
        self._results: list[PGresult] = []
        self._answered: asyncio.Future[PGresult] | None = None
        self._loop.add_reader(self._socket, self._read)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._connection.closed

    async def ask(self, statement: Statement, values: Sequence[object]) -> bytes:
        """Return the answer to a statement. Raises psycopg.Error."""
        if statement.name not in self._prepared:
            self._libpq.send_prepare(statement.name, statement.text, statement.types)
            await self._answer()
            self._prepared.add(statement.name)
        sent = [_array(value) if isinstance(value, list) else str(value).encode() for value in values]
        formats = [int(isinstance(value, list)) for value in values]
        self._libpq.send_query_prepared(statement.name, sent, formats)
        return (await self._answer()).get_value(0, 0) or b""

    async def hear(self, timeout_s: float) -> None:
        """Return after a time, or as soon as the connection breaks."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._broken.wait(), timeout_s)

    def close(self) -> None:
        """Close it. A statement in progress gets no answer."""
        if not self._connection.closed:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._libpq.finish()

    async def _answer(self) -> PGresult:
        """Return the result of what was sent. Raises psycopg.Error."""
        self._answered = self._loop.create_future()
        self._write()
        result = await self._answered
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise errors.error_from_result(result)
        return result

    def _write(self) -> None:
        """Send the rest of libpq's buffer, now or when the socket is writable."""
        try:
            if self._libpq.flush():
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._fail(error)

    def _read(self) -> None:
        """Read what the server has sent, and answer once the result is complete."""
        try:
            self._libpq.consume_input()
            complete = self._takes_all_results()
            while self._libpq.notifies() is not None:
                self._notified()
        except psycopg.Error as error:
            self._fail(error)
            return
        if not complete:
            return
        if self._results and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._results[-1])
        self._results = []

    def _takes_all_results(self) -> bool:
        """Take the received results. Return whether all are here."""
        while not self._libpq.is_busy():
            result = self._libpq.get_result()
            if result is None:
                return True
            self._results.append(result)
        return False

    def _fail(self, error: psycopg.Error) -> None:
        """Close it, and answer with the error."""
        self.close()
        self._broken.set()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


def _array(texts: Sequence[str]) -> bytes:
    """Return an array of texts in PostgreSQL's binary format, which needs no quoting."""
    parts = [
        _ARRAY.pack(1 if texts else 0, 0, TEXT, len(texts), 1)
        if texts
        else _ARRAY.pack(0, 0, TEXT, 0, 0)[:12]
    ]
    for text in texts:
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)
