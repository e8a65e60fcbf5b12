"""What a workflow finds when it runs again is what it asks for: no answer is used for something else.

The SDK finds a promise by its number alone (resonate/effects.py, create_promise). Where the code has changed,
that may be another one: the answer to a question would be the result of a step, or of a bare `ctx.promise()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from resonate.core import Core
from resonate.effects import ResonateEffects
from resonate.types import Value

from hitl_cli.client.tags import SCOPE_TAG
from hitl_cli.client.wire import is_blocking
from hitl_cli.errors import QuestionChanged

if TYPE_CHECKING:
    from resonate.context import Context
    from resonate.types import PromiseCreateReq, PromiseRecord


class CheckedEffects(ResonateEffects):
    """The SDK's durable operations, which compare a promise that is found with the one that is asked for."""

    asks: set[str]
    """The steps by which questions are put."""

    async def create_promise(self, req: PromiseCreateReq) -> PromiseRecord:
        """Create a promise, or return the one that is there; another one as failed by QuestionChanged."""
        record = await super().create_promise(req)
        if (record.tags != req.tags or record.state == "resolved") and (why := self._differs(req, record)):
            value = Value(data=self.codec.decode(self.codec.encode(QuestionChanged(why))))
            return msgspec.structs.replace(record, state="rejected", value=value)
        return record

    def _differs(self, req: PromiseCreateReq, record: PromiseRecord) -> str | None:
        """Say so if a question stands where the code has something else, or the reverse."""
        was_question, is_question = is_blocking(record.tags), is_blocking(req.tags)
        if was_question != is_question:
            was, now = ("a question", "a step") if was_question else ("a step", "a question")
        elif req.tags.get(SCOPE_TAG) == "local" and req.id not in self.asks and answer_in(record):
            was, now = "a question", "a step"
        else:
            return None
        return (
            f"{record.id} was {was} when this run came here first, and the code has {now} there now. No"
            " answer is used for it. Start the run again, or run the code that it was started with."
        )


class CheckedCore(Core, kw_only=True):
    """What executes a task, with these operations."""

    async def execute_until_blocked_inner(self, promise: PromiseRecord, effects: Any) -> Any:
        """Run the workflow's function once (resonate/core.py)."""
        if not isinstance(effects, CheckedEffects):
            effects.__class__ = CheckedEffects
            effects.asks = set()
        return await super().execute_until_blocked_inner(promise, effects)


def answer_in(record: PromiseRecord) -> str | None:
    """Return the request that a settled step was answered by; None where it put no question."""
    data = record.value.data
    if type(data) is not dict or "approved" not in data:
        return None
    id = data.get("id")
    return id if isinstance(id, str) and id.startswith(f"{record.id}.") else None


def note_question(ctx: Context, step: str) -> None:
    """Note that a step puts a question."""
    effects = ctx._state.effects
    if isinstance(effects, CheckedEffects):
        effects.asks.add(step)
