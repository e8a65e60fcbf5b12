"""Sends the requests of one turn of the event loop in one transaction, over a few connections.

The commit and the round trip are most of the cost of a request, and requests in one transaction share both.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from resonate_base import ConnectorError

from hitl_cli.postgres.client import AGAIN
from hitl_cli.postgres.connecting import options_of
from hitl_cli.postgres.errors import READ_ONLY, explained
from hitl_cli.postgres.lane import TEXTS, Lane, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

MANY = Statement(b"hitl_many", b"SELECT hitl.many($1)", (TEXTS,))

LANES = 2
"""Connections at once: while one waits for its commit, the other one works. More only wait for each other."""

LONGEST_BATCH = 64

ENOUGH = 16
"""A second lane is used only if this many requests wait: two small transactions cost far more than one."""

RETRIES_S = (0.1, 0.3, 0.6, 1.0)
"""Pauses before each retry while the server is unreachable; then the last pause is repeated."""

PATIENCE_S = 30.0
"""How long a server may be unreachable. If a request fails, a step that has ended may run again."""

_answers = msgspec.json.Decoder(list[msgspec.Raw])

type _Waiting = tuple[str, asyncio.Future[bytes]]

type _Group = list[_Waiting]
"""Requests that are sent in this order, in one transaction."""


class Turns:
    """Collects the requests of one turn of the event loop, and sends them to a server together."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._waiting: deque[_Group] = deque()
        self._groups: dict[asyncio.Future[bytes], _Group] = {}
        """The waiting groups, by the requests that they answer."""
        self._free: list[Lane] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._asked = False

    def ask(self, request: str, after: asyncio.Future[bytes] | None = None) -> asyncio.Future[bytes]:
        """Return the future answer to a request. It raises ConnectorError if the server stays unreachable.

        A request `after` another one is sent with it, or once that is answered.
        """
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if after is None or after.done():
            self._put(request, answered)
        elif (group := self._groups.get(after)) is not None:
            group.append((request, answered))
            self._groups[answered] = group
        else:
            after.add_done_callback(lambda _: self._put(request, answered))
        return answered

    async def _query(self, requests: list[str]) -> bytes:
        """Return the answers. Raises psycopg.Error."""
        lane = await self._lane()
        try:
            answer = await lane.ask(MANY, (requests,))
        except BaseException:
            lane.close()
            raise
        self._free.append(lane)
        return answer

    def close(self) -> None:
        """Drop the connections. Requests in progress fail with that error."""
        for lane in self._free:
            lane.close()
        self._free.clear()

    def _put(self, request: str, answered: asyncio.Future[bytes]) -> None:
        """Add a request to the queue."""
        group = [(request, answered)]
        self._waiting.append(group)
        self._groups[answered] = group
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Distribute the queue among the free lanes."""
        self._asked = False
        while self._waiting and (free := LANES - len(self._sending)):
            if free < LANES and len(self._groups) < ENOUGH:
                return
            size = min(LONGEST_BATCH, max(ENOUGH, -(-len(self._groups) // free)))
            batch: _Group = []
            while self._waiting and len(batch) < size:
                batch += self._waiting.popleft()
            for _, answered in batch:
                del self._groups[answered]
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("unexpected error while sending requests to the database", exc_info=error)
        if self._waiting and not self._asked:
            self._send()

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Send a batch and answer its requests. It is sent again after an error, which is safe."""
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
        for tried, pause_s in enumerate(chain(RETRIES_S, repeat(RETRIES_S[-1]))):
            try:
                return _answers.decode(await self._query(requests))
            except psycopg.Error as error:
                if not _passes(error) or loop.time() + pause_s > end:
                    raise
                if tried == len(RETRIES_S):
                    logger.warning(
                        "the database cannot answer, retrying for up to %g s: %s",
                        PATIENCE_S,
                        explained(error, self._name),
                    )
                await asyncio.sleep(pause_s)
        raise AssertionError

    async def _lane(self) -> Lane:
        while self._free:
            lane = self._free.pop()
            if not lane.closed:
                return lane
        return Lane(await connect(self._url))


def _passes(error: psycopg.Error) -> bool:
    """Whether a failed request may succeed later: the server restarts, or another one takes over."""
    return isinstance(error, psycopg.OperationalError) or error.sqlstate in AGAIN | {READ_ONLY}


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """Return a connection of a worker. Raises psycopg.Error."""
    options = options_of(url, application_name="hitl worker") | {"client_encoding": "utf8"}  # for a Lane
    return await psycopg.AsyncConnection.connect(**options)
