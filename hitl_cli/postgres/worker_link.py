"""A worker's connection to a database: the SDK's network and source in one.

One connection listens for messages and fires what is due; a few others take tasks and send requests
(turns.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from msgspec import Struct
from psycopg import sql
from resonate_base import ConnectorError

from hitl_cli.client.connect import shown_url
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.engine.addresses import SHARE_PAUSE_S, any_of, one_of
from hitl_cli.engine.records import Value
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.format.json import to_json
from hitl_cli.inspected import inspected
from hitl_cli.postgres.client import NOW, TICK_S, PostgresClient, envelope
from hitl_cli.postgres.errors import explained
from hitl_cli.postgres.lane import BIGINT, BIGINTS, TEXT, Lane, Statement
from hitl_cli.postgres.schedules import firings
from hitl_cli.postgres.turns import Turns, connect
from hitl_cli.sdk.request_ports import HeldTask, RequestTaskPorts
from hitl_cli.sdk.worker_link import WorkerLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.sdk.worker_link import WorkerTerms

logger = logging.getLogger(__name__)

CARE_TICKS = 2
"""One in this many checks for due work also checks the statistics."""

BUSY_S = 0.02
"""When to look again for a task whose run another process was changing."""

AGAIN_S = (0.5, 1.0, 2.0)
"""Pauses before each attempt to reach the server again; then the last pause is repeated."""

MOST_AT_ONCE = 64

CARE = Statement(b"hitl_care", b"SELECT hitl.care()::text", ())
TICK = Statement(
    b"hitl_tick",
    b"SELECT json_build_object('due', hitl.tick(), 'now', " + NOW.encode() + b", 'peers',"
    b" (SELECT count(*) FROM hitl.workers() w WHERE w.name = $1))::text",
    (TEXT,),
)
FIRING = Statement(b"hitl_fire", b"SELECT hitl.fire($1, $2, $3, $4)::text", (TEXT, BIGINT, BIGINTS, BIGINT))


def postgres_link(url: str, terms: WorkerTerms) -> WorkerLink:
    """Return a worker's connections to a database. Raises BadServer, Unreachable."""
    with PostgresClient(url) as client:
        client.check_writes()
        connection = PostgresConnection(url, terms, client.now() - now_ms())
    return WorkerLink(
        shown_url(url),
        network=connection,
        source=connection,
        tasks=connection.tasks,
        poke=connection.poke,
        close=connection.close,
        announce=connection.announce,
        now=connection.now,
    )


class _Left(Struct, frozen=True):
    """A task that this worker leaves to others, with its function call."""

    id: str
    data: str | None = None


class _Taken(Struct, frozen=True):
    tasks: list[HeldTask] = []
    settled: list[msgspec.Raw] = []
    busy: int = 0
    more: bool = False
    others: list[_Left] = []


class _Answer(Struct, frozen=True):
    data: _Taken


class _Ticked(Struct, frozen=True):
    due: msgspec.Raw
    peers: int
    now: int


_answer = msgspec.json.Decoder(inspected(_Answer))
_ticked = msgspec.json.Decoder(inspected(_Ticked))


class PostgresConnection:
    """One worker's connection to a database."""

    def __init__(self, url: str, terms: WorkerTerms, ahead_ms: int) -> None:
        self._url = url
        self._ahead_ms = ahead_ms
        self._name = shown_url(url)
        self._terms = terms
        self._addresses = [any_of(terms.group), one_of(terms.group, terms.pid)]
        self._turns = Turns(url, self._name)
        self.tasks = RequestTaskPorts(self._turns.ask, terms.lease_ms / 1_000, self.now)
        self._callbacks: list[Callable[[str], None]] = []
        self._workflows: Sequence[str] = ()
        self._look = asyncio.Event()
        self._peers = 1
        self._running: list[asyncio.Task[None]] = []

    # resonate_base.Source

    def unicast(self) -> str:
        """Return the address of this process alone."""
        return self._addresses[1]

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return any_of(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Pass messages to the callback."""
        self._callbacks.append(callback)

    # resonate_base.Network

    async def start(self) -> None:
        """Begin to fetch messages."""
        if not self._running:
            self._running = [asyncio.create_task(self._listen()), asyncio.create_task(self._fetch())]

    async def stop(self) -> None:
        """Fetch no more messages. Requests are still answered, so that work in progress can finish."""
        self._callbacks.clear()
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running.clear()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:  # noqa: ARG002
        """Answer one request, once it is committed. Raises ConnectorError if the server is unreachable."""
        return (await self._turns.ask(req)).decode()

    def announce(self, workflows: Sequence[str]) -> None:
        """Announce the workflows of this worker on the server, from `start` on."""
        self._workflows = workflows

    def now(self) -> int:
        """Return the present in ms since the epoch, by the clock of the server."""
        return now_ms() + self._ahead_ms

    def poke(self) -> None:
        """Fetch messages soon: there may be room for more."""
        self._look.set()

    def close(self) -> None:
        """Close the connections. No request may follow."""
        self._turns.close()

    # Listening and timers

    async def _listen(self) -> None:
        """Listen for messages and fire what is due, until stopped; reconnect if the connection breaks."""
        tries, told = 0, ""
        while True:
            try:
                async with await connect(self._url) as connection:
                    await self._begin_to_listen(connection)
                    tries, told = 0, ""
                    lane = Lane(connection, self._look.set)
                    try:
                        await self._hear(lane)
                    finally:
                        lane.close()
            except psycopg.Error as error:
                pause_s = AGAIN_S[min(tries, len(AGAIN_S) - 1)]
                tries += 1
                if told != (told := str(explained(error, self._name))):
                    logger.warning("%s Retrying until it works.", told)
                await asyncio.sleep(pause_s)

    async def _begin_to_listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        channels = await (
            await connection.execute(
                "SELECT resonate.outbox_channel(%s), resonate.outbox_channel(%s)", self._addresses
            )
        ).fetchone()
        assert channels is not None
        for channel in channels:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        await connection.execute("SELECT hitl.announce(%s, %s)", (self._terms.group, list(self._workflows)))
        self._look.set()

    async def _hear(self, lane: Lane) -> None:
        for ticks in count():
            await self._tick(lane)
            if ticks % CARE_TICKS == 0:
                await lane.ask(CARE, ())
            await lane.hear(TICK_S)

    async def _tick(self, lane: Lane) -> None:
        """Fire what is due, and count the workers of the group."""
        found = _ticked.decode(await lane.ask(TICK, (self._terms.group,)))
        self._peers = max(found.peers, 1)
        self._ahead_ms = found.now - now_ms()
        for id, seen, due, after in firings(found.due, found.now):
            await lane.ask(FIRING, (id, seen, f"{{{','.join(map(str, due))}}}", after))

    # Messages

    async def _fetch(self) -> None:
        """Take messages whenever there may be some, until stopped."""
        while True:
            await self._look.wait()
            self._look.clear()
            room = min(-(-self._terms.room(0) // self._peers), MOST_AT_ONCE)
            if room <= 0:
                continue
            functions = [f"{name}@{version}" for name, version in self._terms.served()]
            asked_at = time.monotonic()
            try:
                found = await self._take(room, functions)
            except ConnectorError as error:
                logger.info("tasks could not be fetched, retrying: %s", error)
                asyncio.get_running_loop().call_later(AGAIN_S[0], self._look.set)
                continue
            self._hand_over(found, asked_at)
            if found.busy:
                asyncio.get_running_loop().call_later(BUSY_S, self._look.set)
            if found.more:
                self._look.set()
            if self._peers > 1:
                await asyncio.sleep(SHARE_PAUSE_S)  # other workers come first for a moment

    async def _take(self, room: int, functions: list[str]) -> _Taken:
        """Take messages and tasks; the tasks are then held by this worker. Raises ConnectorError."""
        data = {
            "addresses": self._addresses[::-1],
            "pid": self._terms.pid,
            "ttl": self._terms.lease_ms,
            "room": room,
            "functions": functions,
            "left": list(self._terms.left()),
        }
        taking = self._turns.ask(envelope(ProtocolRequest("hitl.take", data)))
        try:
            return _answer.decode(await asyncio.shield(taking)).data
        except asyncio.CancelledError:
            taking.add_done_callback(self._give_back)
            raise

    def _give_back(self, taking: asyncio.Future[bytes]) -> None:
        """Release tasks that arrive while the worker stops."""
        if taking.cancelled() or taking.exception() is not None:
            return
        for held in _answer.decode(taking.result()).data.tasks:
            task = {"id": held.task.id, "version": held.task.version}
            self._turns.ask(envelope(ProtocolRequest("task.release", task)))

    def _hand_over(self, found: _Taken, asked_at: float) -> None:
        for held in found.tasks:
            self.tasks.give(held, asked_at)
            task = {"id": held.task.id, "version": held.task.version - 1}
            self._say(to_json({"kind": "execute", "head": {}, "data": {"task": task}}))
        for promise in found.settled:
            self._say(f'{{"kind":"unblock","head":{{}},"data":{{"promise":{bytes(promise).decode()}}}}}')
        for left in found.others:
            self._terms.wants(left.id, Value(data=left.data))  # the worker reports it

    def _say(self, message: str) -> None:
        for callback in self._callbacks:
            callback(message)
