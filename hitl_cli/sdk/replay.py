"""Checks that a replayed workflow does not use the answer to one request for another call.

The SDK finds a promise only by its number (resonate/effects.py, create_promise). After a change of the code,
that may be a different promise: an answer could become the result of a step, or of a bare `ctx.promise()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from resonate.core import Core
from resonate.effects import ResonateEffects
from resonate.types import Value

from hitl_cli.client.tags import SCOPE_TAG
from hitl_cli.client.wire import child_id, is_blocking
from hitl_cli.errors import QuestionChanged
from hitl_cli.sdk.calls import asked_below, differs, executed, is_marked, note_asked
from hitl_cli.sdk.suspension import suspending

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate.context import Context
    from resonate.error import Suspended
    from resonate.types import PromiseCreateReq, PromiseRecord


class CheckedEffects(ResonateEffects):
    """The SDK's durable operations, which also compare existing promises with the code.

    The SDK creates the object; `begin` sets the attributes below.
    """

    asks: set[str]
    """The steps that create requests."""
    asked: bool
    """Whether a request was created below the current function."""
    compares: bool
    """Whether there is a recorded call whose result may be used for the same call only (sdk/calls.py)."""
    changed: dict[str, str]
    """The recorded calls where the code now calls another function, and that function."""
    anew: set[str]
    """The new calls that replace them."""
    callers: dict[str, str]
    """The modules that call other functions, by the id of the call."""
    code_of: Callable[[str], Any] | None
    """Returns the code that a module belongs to; None if calls are not compared."""

    def begin(self, code_of: Callable[[str], Any] | None) -> None:
        """Reset the attributes for one attempt."""
        self.asks, self.anew, self.changed, self.callers = set(), set(), {}, {}
        self.asked = False
        self.code_of = code_of
        self.compares = code_of is not None and any(map(is_marked, self.cache.values()))

    async def create_promise(self, req: PromiseCreateReq) -> PromiseRecord:
        """Create a promise, or return the existing one, which is failed by QuestionChanged if it differs."""
        is_known = req.id in self.cache
        record = await super().create_promise(req)
        if record.state == "pending" and record.tags == req.tags:
            return record
        if record.value.headers is not None and asked_below(record):
            note_asked(self)
            if self.code_of and not is_known and (why := differs(self, req, record)):
                return self._changed(record, why)
        if (why := self._differs(req, record)) is not None:
            return self._changed(record, why)
        return record

    def _changed(self, record: PromiseRecord, why: str) -> PromiseRecord:
        """Return a promise as failed with QuestionChanged."""
        value = Value(data=self.codec.decode(self.codec.encode(QuestionChanged(why))))
        return msgspec.structs.replace(record, state="rejected", value=value)

    def _differs(self, req: PromiseCreateReq, record: PromiseRecord) -> str | None:
        """Return an error text if a request is recorded where the code has a step, or the reverse."""
        was_question, is_question = is_blocking(record.tags), is_blocking(req.tags)
        if was_question != is_question:
            was, now = ("a request", "a step") if was_question else ("a step", "a request")
        elif record.state != "resolved":
            return None
        elif (
            req.tags.get(SCOPE_TAG) == "local"
            and req.id not in self.asks
            and not asked_below(record)
            and answer_in(record)
        ):
            was, now = "a request", "a step"
        else:
            return None
        return (
            f"{record.id} was {was} when this run first reached it, but the code now has {now} there."
            " No answer is used for it. Start the run again, or run the code that it was started with."
        )


class CheckedCore(Core, kw_only=True):
    """Executes a task with these operations. `code_of` returns the code that a module belongs to."""

    code_of: Callable[[str], Any] | None = None

    async def execute_until_blocked_inner(self, promise: PromiseRecord, effects: Any) -> Any:
        """Run the workflow's function once (resonate/core.py)."""
        if not isinstance(effects, CheckedEffects):
            effects.__class__ = CheckedEffects
        effects.begin(self.code_of)
        executed.set(effects)
        signals: list[Suspended] = []
        suspending.set(signals)
        outcome = await super().execute_until_blocked_inner(promise, effects)
        for signal in signals:
            signal.__traceback__ = signal.__context__ = None
        signals.clear()
        return outcome


def answer_in(record: PromiseRecord) -> str | None:
    """Return the id of the request that a settled step asked; None if it asked none."""
    data = record.value.data
    if type(data) is not dict or "approved" not in data:
        return None
    id, above = data.get("id"), child_id(record.id, "")
    if not isinstance(id, str) or not id.startswith(above):
        return None
    rest = id.removeprefix(above)
    return id if rest == "1" or rest.startswith("r") else None  # otherwise, the id of a step below that asks


def note_question(ctx: Context, step: str, *, keep: bool) -> None:
    """Record that a step creates a request; `keep` says whether it stays if the code changes."""
    effects = ctx._state.effects
    if isinstance(effects, CheckedEffects):
        effects.asks.add(step)
        if not keep:
            note_asked(effects)
