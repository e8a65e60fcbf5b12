"""Where the tools ask: on a server, at a gateway, or inside of one."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol

from hitl_cli.errors import Unreachable
from hitl_cli.requests.demand import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.python_api.backend import Backend
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.demand import Demand
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument

logger = logging.getLogger(__name__)

SLICE_S = 2.0
"""How long one thread waits at once."""

THREADS = 32
"""Calls at a time, and so the tools that can wait at once."""


class Desk(Protocol):
    """The requests of one asker, for the tools. Each method may raise Unreachable.

    The methods are those of `python_api.backend.Backend`, to await.
    """

    async def put(self, asked: QuestionInput) -> str:
        """Create a request, or find the existing one, and return its id. Raises BadInput, Conflict."""

    async def decision(
        self, id: str, timeout_s: float, asked: QuestionInput | None = None
    ) -> Decision[Json] | None:
        """Return the decision; None after `timeout_s` seconds. Raises NotFound, RunFailed, Unproven.

        `asked` is the question as the caller asked it; the stored one is not trusted.
        """

    async def use(self, id: str, key: str) -> None:
        """Use up an approval. Raises NotFound, NotCovered, Conflict, BadInput."""

    async def answer_back(self, id: str, text: str) -> None:
        """Answer a question that a person asked back. Raises NotFound, BadInput, Conflict."""

    async def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request, and return the decision. Raises NotFound, Conflict."""

    async def pending(self, limit: int) -> Sequence[RequestSummaryDocument]:
        """Return open requests, oldest first."""

    async def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. Raises NotFound."""

    async def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return up to `limit` decisions, the newest first."""


class BackendDesk:
    """A desk on a server or at a gateway, whose calls block in threads."""

    def __init__(self, backend: Backend, demand: Demand = NOTHING) -> None:
        """`demand` is the proof that each decision must have."""
        self._backend = backend
        self._demand = demand
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")

    async def put(self, asked: QuestionInput) -> str:
        """Create a request. See Desk."""
        return await self._run(lambda: self._backend.put(asked))

    async def decision(
        self, id: str, timeout_s: float, asked: QuestionInput | None = None
    ) -> Decision[Json] | None:
        """Return the decision. See Desk.

        It waits in slices, so that a canceled call frees its thread soon. The server may be unreachable
        meanwhile.
        """
        end = time.monotonic() + timeout_s
        while True:
            rest = end - time.monotonic()
            slice_s = max(min(rest, SLICE_S), 0)
            try:
                found = await self._run(partial(self._backend.decision, id, slice_s, asked or self._demand))
            except Unreachable as error:
                if rest <= 0:
                    raise
                logger.warning("%s", error, extra={"request": id})
                await asyncio.sleep(slice_s)
            else:
                if found is not None or rest <= 0:
                    return found

    async def use(self, id: str, key: str) -> None:
        """Use up an approval. See Desk."""
        await self._run(lambda: self._backend.use(id, key))

    async def answer_back(self, id: str, text: str) -> None:
        """Answer a question that was asked back. See Desk."""
        await self._run(lambda: self._backend.answer_back(id, text))

    async def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request. See Desk."""
        return await self._run(lambda: self._backend.take_back(id))

    async def pending(self, limit: int) -> Sequence[RequestSummaryDocument]:
        """Return open requests. See Desk."""
        from hitl_cli.python_api.backend import Wanted

        return await self._run(lambda: self._backend.pending(Wanted(limit=limit)))

    async def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Desk."""
        return await self._run(lambda: self._backend.show(id))

    async def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return decisions. See Desk."""
        return await self._run(lambda: self._backend.history(limit))

    def close(self) -> None:
        """Wait for the calls in progress, and close all connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._backend.close()

    async def _run[T](self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
