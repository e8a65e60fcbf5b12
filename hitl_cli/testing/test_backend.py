"""The backend of `Hitl` in a test: a wait ends at once, because nobody answers meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.tags import ORIGIN_TAG
from hitl_cli.format.durations import format_duration
from hitl_cli.python_api.async_waits import AsyncWaits
from hitl_cli.python_api.hitl import AsyncHitl, Hitl
from hitl_cli.python_api.server_backend import ServerBackend
from hitl_cli.requests.question import prompt_of, question_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.people.actor import Actor
    from hitl_cli.python_api.backend import Wanted
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.demand import Demand
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.runs.run import RunSpec
    from hitl_cli.testing.worker_thread import Retry
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument
    from hitl_cli.views.runs import RunDocument


class StillWaiting(AssertionError):
    """A request or a run waits for something that the test must do first: an answer, or `advance`."""


class TestBackend(ServerBackend):
    """Requests and runs in a test. A wait without a timeout that would not end raises StillWaiting."""

    __test__ = False  # pytest

    def __init__(
        self, url: str, actor: Actor, settle: Callable[[], None], retries: Callable[[], Sequence[Retry]]
    ) -> None:
        """`settle` runs everything that can run now; `retries` are the failed steps."""
        super().__init__(url, None, actor)
        self._settle = settle
        self._retries = retries

    def decision(
        self, id: str, timeout_s: float | None, asked: QuestionInput | Demand | None = None
    ) -> Decision[Json] | None:
        """Return the decision. See Backend."""
        self._settle()
        found = super().decision(id, 0.0, asked)
        if found is None and timeout_s is None:
            raise StillWaiting(self.waiting_for(id))
        return found

    def pending(self, wanted: Wanted) -> Sequence[RequestSummaryDocument]:
        """Return open requests. See Backend."""
        self._settle()
        return super().pending(wanted)

    def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Backend."""
        self._settle()
        return super().show(id)

    def start(self, spec: RunSpec, group: str | None, deadline_ms: int) -> None:
        """Start a run, up to where it waits. See Backend."""
        super().start(spec, group, deadline_ms)
        self._settle()

    def ended(self, id: str, timeout_s: float | None) -> RunDocument | None:
        """Return a run once it has ended. See Backend."""
        self._settle()
        found = super().ended(id, 0.0)
        if found is None and timeout_s is None:
            raise StillWaiting(self.waiting_for(id))
        return found

    def waiting_for(self, id: str) -> str:
        """Return the things that a run or a request waits for, one per line."""
        client = self.client()
        found = get_promise(client, id)
        below = search(client, state="pending", tags={ORIGIN_TAG: id}) if found and found.is_run else []
        now = client.now()
        lines = [
            line
            for promise in ([found] if found and found.is_blocking else below)
            if promise.id != id or promise.is_blocking
            if (line := _line(promise, now))
        ]
        for retry in self._retries():
            if retry.run.partition(":")[0] == id:
                left = format_duration(retry.at - now)
                lines.append(f"a step of {retry.run} failed and is retried in {left}: {retry.error}")
                lines += (retry.traceback or "").splitlines()
        return "\n  ".join(
            [f"{id} is not finished:", *(lines or ["it waits for nothing that is known here"])]
        )


class TestHitl(Hitl):
    """A `Hitl` in a test."""

    __test__ = False

    def __init__(self, backend: TestBackend) -> None:
        self._backend = backend


class AsyncTestHitl(AsyncHitl):
    """An `AsyncHitl` in a test."""

    def __init__(self, backend: TestBackend) -> None:
        self._backend = backend
        self._waits = _AtOnce(backend)


class _AtOnce(AsyncWaits):
    """Waits in a test: nothing changes meanwhile, so one call is enough."""

    async def until[T](
        self, look: Callable[[str, float | None], T | None], id: str, timeout_s: float | None
    ) -> T | None:
        """Return the result of one call of `look`. See AsyncWaits."""
        return await asyncio.to_thread(look, id, timeout_s)


def _line(promise: Promise, now: int) -> str | None:
    """Return what a pending promise waits for; None for a step, which waits for what is below it."""
    left = format_duration(max(promise.timeout_at - now, 0))
    if promise.is_blocking:
        question = question_of(promise)
        who = ", ".join(question.to) if question is not None and question.to else "anyone"
        return f"{promise.id} waits for {who}: {prompt_of(promise) or '(no prompt)'} (deadline in {left})"
    if promise.is_timer:
        return f"{promise.id} sleeps for {left}"
    return f"{promise.id} calls {promise.function}" if promise.is_call else None
