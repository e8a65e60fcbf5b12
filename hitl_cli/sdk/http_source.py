"""A worker's source of tasks from a Resonate server over HTTP."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from resonate_base import ResonateError

from hitl_cli.client.http import send
from hitl_cli.client.protocol import OK, ProtocolRequest, as_promise
from hitl_cli.client.wire import offered_task
from hitl_cli.engine.records import Value
from hitl_cli.errors import HitlError, logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate_base import Network, Source

logger = logging.getLogger(__name__)


class FilteringSource:
    """A source that passes on only the tasks whose function is served here.

    What is not passed on, the server offers again after a while. Were it passed on, the SDK would
    release it, the server would offer it at once, and so on without end.

    A Resonate Server offers the timers of `ctx.sleep` too, which nobody can execute. Their tasks are halted,
    so that it does not offer them again. Timers are resolved at their time all the same.
    """

    def __init__(
        self, source: Source, network: Network, token: str | None, wants: Callable[[str, Value], bool]
    ) -> None:
        self._source = source
        self._network = network
        self._token = token
        self._wants = wants
        self._callbacks: list[Callable[[str], None]] = []
        self._choosing: set[asyncio.Task[None]] = set()
        source.recv(self._received)

    def unicast(self) -> str:
        """Return the address of this process only."""
        return self._source.unicast()

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return self._source.resolve_target(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Pass messages to the callback."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Start receiving messages."""
        await self._source.start()

    async def stop(self) -> None:
        """Stop receiving messages."""
        self._callbacks.clear()
        await self._source.stop()

    def _received(self, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._choose(text))
        self._choosing.add(task)
        task.add_done_callback(self._choosing.discard)

    async def _choose(self, text: str) -> None:
        if (id := offered_task(text)) is not None:
            try:
                if not await self._is_wanted(id):
                    return
            except (HitlError, ResonateError, OSError) as error:  # the server offers it again after a while
                logger.warning("the task %s was offered, but cannot be read: %s", id, logged(error))
                return
        for callback in self._callbacks:
            callback(text)

    async def _is_wanted(self, id: str) -> bool:
        """Whether this worker can execute a task. A timer's task is halted."""
        answer = await send(self._network, ProtocolRequest("promise.get", {"id": id}), self._token)
        if answer.status != OK:
            return True
        promise = as_promise(answer)
        if promise.is_timer:
            if promise.state == "pending":
                await send(self._network, ProtocolRequest("task.halt", {"id": id}), self._token)
            return False
        return self._wants(promise.id, promise.param or Value())
