"""A client of a PostgreSQL database: the requests of one call are one statement and one transaction."""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import batched
from typing import TYPE_CHECKING, Any, LiteralString

import msgspec
import psycopg

from hitl_cli.client import inherited
from hitl_cli.client.connect import shown_url
from hitl_cli.client.protocol import (
    Capabilities,
    Client,
    Listener,
    ProtocolRequest,
    ProtocolResponse,
    read,
)
from hitl_cli.engine.records import ID_MAX, PROTOCOL_VERSION
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import Unreachable
from hitl_cli.postgres import VERSION, connecting
from hitl_cli.postgres.errors import READ_ONLY, explained, read_only

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY: LiteralString = "SELECT hitl.many(%b::text[])"
"""The requests are sent in binary form, which needs no escaping."""

LISTENERS: LiteralString = (
    "SELECT name, workflows FROM hitl.workers() UNION ALL SELECT name, NULL FROM hitl.others(%s) name"
)

LONGEST_BATCH = 100
"""Requests in one transaction: it holds the locks of all of their runs."""

TICK_S = 1.0
"""How often a process that waits looks for deadlines that are due."""

LOOK_S = 0.5
"""The longest wait in one go: less than the time that a command has to end after a signal (cli/ask.py)."""

AWAY_S = 0.5
"""How long a process that waits sleeps when the server is away."""

TOLD_MAX = 10_000
"""Ids of changed promises that are kept for `told`."""

UNTOLD = "?"
"""Sent in place of an id that is too long for a message."""

AGAIN = frozenset({"40P01", "40001"})
"""SQLSTATEs of a transaction that failed only because of a concurrent one."""

NOW: LiteralString = "(extract(epoch from clock_timestamp()) * 1000)::bigint"
"""The server's clock, in ms, which counts. This machine's clock may differ."""

_answers = msgspec.json.Decoder(list[msgspec.Raw])


def envelope(request: ProtocolRequest) -> str:
    """Return a request as JSON."""
    head = {"corrId": "", "version": PROTOCOL_VERSION}
    return msgspec.json.encode({"kind": request.kind, "head": head, "data": request.data}).decode()


class PostgresClient(Client):
    """A client of hitl's functions in a database."""

    capabilities = Capabilities(
        sort=True,
        root=True,
        prefix=True,
        open=True,
        order=True,
        after=True,
        ring=True,
        batch=True,
        tells=True,
    )

    def __init__(self, url: str) -> None:
        """Connect. Raises BadServer, Unreachable."""
        self.name = shown_url(url)
        self._url = url
        self._heard = 0
        self._told: deque[str] = deque(maxlen=TOLD_MAX)
        self._gap = False
        self._listens = False
        self._ticked = 0.0
        self._ahead_ms = 0
        self._connection: psycopg.Connection | None = None
        self._process = os.getpid()
        self._connected()

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        """Answer the requests, up to LONGEST_BATCH of them in one transaction."""
        return [answer for batch in batched(requests, LONGEST_BATCH) for answer in self._call(batch)]

    def wait(self, timeout_s: float) -> None:
        """Return when another process committed, or after `timeout_s` seconds at the latest.

        The first call begins to listen and returns at once, because earlier commits are not reported. It also
        returns after LOOK_S, so that the caller can handle a signal. Deadlines that fall due meanwhile are
        fired.
        """
        try:
            connection = self._connected()
            if not self._listens:
                self._listens = True
                connection.execute("LISTEN hitl")
                return
            self._tick(connection)
            for notice in connection.notifies(timeout=min(timeout_s, LOOK_S), stop_after=1):
                self._hear(notice)
        except Unreachable:
            self._heard += 1
            time.sleep(min(timeout_s, AWAY_S))
        except psycopg.Error:
            self._heard += 1  # the caller reads again, and gets the error there

    def version(self) -> int:
        """Return a number that changes when another connection commits. Raises Unreachable."""
        if not self._listens:
            self.wait(0)
            return self._heard
        try:
            for notice in self._connected().notifies(timeout=0):
                self._hear(notice)
        except psycopg.Error:
            self._connected()
        return self._heard

    def told(self) -> list[str] | None:
        """Return the ids of changed requests, votes and comments, in commit order; None if some are lost.

        That order may differ from the order of the times in the promises.
        """
        self.version()
        ids = None if self._gap else list(dict.fromkeys(self._told))
        self._told.clear()
        self._gap = False
        return ids

    def fire_due(self) -> None:
        """Settle promises past their deadline, and fire due schedules. Raises Unreachable."""
        try:
            self._tick(self._connected())
        except psycopg.Error as error:
            raise explained(error, self.name) from error

    def now(self) -> int:
        """Return the current time in ms since the epoch, by the server's clock."""
        return now_ms() + self._ahead_ms

    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group is listening."""
        return any(listener.group == group for listener in self.listeners(group))

    def listeners(self, *groups: str) -> list[Listener]:
        """Return the workers that are listening; for other SDKs, one per group. Raises Unreachable.

        Groups without a worker of hitl and without a task on offer must be named to be found.
        """
        try:
            rows = self._connected().execute(LISTENERS, (list(groups),)).fetchall()
        except psycopg.Error as error:
            raise explained(error, self.name) from error
        return [Listener(name, None if served is None else tuple(served)) for name, served in rows]

    def value(self, statement: LiteralString, *values: object) -> Any:
        """Return the only value of the only row of a statement. Raises Unreachable."""
        try:
            row = self._connected().execute(statement, values).fetchone()
        except psycopg.Error as error:
            raise explained(error, self.name) from error
        assert row is not None
        return row[0]

    def check_writes(self) -> None:
        """Raise Unreachable if the server takes no writes."""
        if self.value("SHOW transaction_read_only") == "on":
            raise read_only(self.name)

    def close(self) -> None:
        """Close the connection."""
        self._leave_inherited()
        if self._connection is not None:
            self._connection.close()

    def _leave_inherited(self) -> None:
        """Leave the connection to the parent, in a forked process."""
        if self._process != os.getpid():
            inherited.keep(self._connection)
            self._connection, self._process = None, os.getpid()

    def _hear(self, notice: psycopg.Notify) -> None:
        self._heard += 1
        if notice.payload == UNTOLD or len(self._told) == TOLD_MAX:
            self._gap = True
        elif notice.payload:
            self._told.append(notice.payload)

    def _connected(self) -> psycopg.Connection:
        """Return the connection, a new one if there is none. Raises BadServer, Unreachable."""
        self._leave_inherited()
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection = connecting.connect(self._url)
            self._connection = connection
            connecting.check_age(connection, self.name)
            row = connection.execute(f"SELECT hitl.version(), pg_backend_pid(), {NOW}").fetchone()
            assert row is not None
            version, pid, now = row
            self._ahead_ms = now - now_ms()
            check_version(version, self.name)
            connecting.check_pooler(connection, pid, self._url, self.name)
            if self._listens:
                connection.execute("LISTEN hitl")
                self._heard += 1  # notifications in between are lost
                self._gap = True
        except psycopg.Error as error:
            self.close()
            raise explained(error, self.name) from error
        except Unreachable:
            self.close()
            raise
        return connection

    def _call(self, batch: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        texts = [envelope(_prepared(request, self.now())) for request in batch]
        refused = {at: problem for at, request in enumerate(batch) if (problem := _problem(request))}
        sent = [text for at, text in enumerate(texts) if at not in refused]
        answers = iter(map(read, self._answers_to(sent)))
        return [
            ProtocolResponse(400, msgspec.Raw(msgspec.json.encode(refused[at])))
            if at in refused
            else next(answers)
            for at in range(len(batch))
        ]

    def _answers_to(self, texts: list[str]) -> list[msgspec.Raw]:
        """Return the answers. If the connection breaks, the requests are sent again."""
        if not texts:
            return []
        try:
            return self._ask(texts)
        except psycopg.Error as error:
            if error.sqlstate == READ_ONLY:
                self.close()  # by now the URL may lead to a primary
            broken = self._connection is None or self._connection.closed
            if not broken and error.sqlstate not in AGAIN:
                raise explained(error, self.name) from error
        try:
            return self._ask(texts)
        except psycopg.Error as error:
            raise explained(error, self.name) from error

    def _ask(self, texts: list[str]) -> list[msgspec.Raw]:
        row = self._connected().execute(f"{MANY}, {NOW}", (texts,)).fetchone()
        assert row is not None
        answers, now = row
        self._ahead_ms = now - now_ms()
        return _answers.decode(answers)

    def _tick(self, connection: psycopg.Connection) -> None:
        """Fire what is due, at most once in TICK_S."""
        if time.monotonic() - self._ticked < TICK_S:
            return
        self._ticked = time.monotonic()
        row = connection.execute("SELECT hitl.tick()::text").fetchone()
        assert row is not None
        from hitl_cli.postgres.schedules import FIRE, firings

        for firing in firings(row[0], self.now()):
            connection.execute(FIRE, firing)


def check_version(version: int, name: str) -> None:
    """Raise Unreachable if the schema of a database is older than this package needs."""
    if version < VERSION:
        raise Unreachable(
            f"{name} has version {version} of hitl's schema, and this hitl needs {VERSION}. The owner of the"
            " schema resonate runs: hitl postgres install",
            code="not-prepared",
        )


def _problem(request: ProtocolRequest) -> str | None:
    """Return why a request cannot be carried out, in the same words as the engine."""
    if len(str(request.data.get("id", ""))) > ID_MAX:
        return f"id is longer than {ID_MAX} characters"
    if request.kind != "schedule.create":
        return None
    from hitl_cli.engine import cron

    return cron.problem(str(request.data.get("cron", "")))


def _prepared(request: ProtocolRequest, now: int) -> ProtocolRequest:
    """Return a request with a field that the database cannot compute: when a schedule fires first."""
    if request.kind != "schedule.create" or _problem(request) is not None:
        return request
    from hitl_cli.engine import cron

    first = cron.next_after(request.data["cron"], now)
    return ProtocolRequest(request.kind, {**request.data, "nextRunAt": first})
