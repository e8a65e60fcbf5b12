"""A tool call of a framework's agent as a request. Asking about one call again finds the same request."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.agents.tool_call import as_code, refusal, summary_of
from hitl_cli.errors import BadInput, NotCovered, TimedOut
from hitl_cli.format.durations import Duration, duration_ms
from hitl_cli.format.json import to_json
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.python_api.hitl import AsyncHitl, Hitl
from hitl_cli.requests.decision import Decision
from hitl_cli.requests.question import Question, sensible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from hitl_cli.requests.question_input import ApprovalOptions

ID_CHARS = 24
TAG_CHARS = 80


def options_of(
    to: str | Sequence[str], deadline: Duration | None, options: ApprovalOptions | None
) -> ApprovalOptions:
    """Return the parameters of an adapter as one set of options."""
    return {"to": to, "deadline": deadline, **(options or {})}


def opened(hitl: Hitl | AsyncHitl | None) -> AbstractAsyncContextManager[Hitl | AsyncHitl]:
    """Open the place to ask: the one that is given, or a new `AsyncHitl`, which is closed afterwards."""
    return AsyncHitl() if hitl is None else nullcontext(hitl)


def opened_now(hitl: Hitl | None) -> AbstractContextManager[Hitl]:
    """Do the same as `opened`, with a `Hitl`."""
    return Hitl() if hitl is None else nullcontext(hitl)


class FrameworkCall(Struct, frozen=True, kw_only=True):
    """A tool call that waits for approval. `run` and `id` are unique together; `arguments` are the tool's.

    With a `form`, a person answers in place of the tool. `editable` is the JSON Schema by which a person may
    change the arguments.
    """

    framework: str
    run: str
    id: str
    tool: str
    arguments: Any
    agent: str | None = None
    details: Any = None
    form: dict[str, Any] | None = None
    editable: dict[str, Any] | bool | None = None

    @property
    def request(self) -> str:
        """The id of its request."""
        return f"{self.framework}-{stable_id(to_json([self.run, self.id]).encode(), ID_CHARS)}"


def question(call: FrameworkCall, options: ApprovalOptions) -> dict[str, Any]:
    """Return the arguments of `ask` for a call, except the id."""
    who = as_code(call.agent) if call.agent else "An agent"
    given = call.arguments if isinstance(call.arguments, dict) else {}
    tags = {"agent": call.framework, "tool": call.tool[:TAG_CHARS], **(options.get("tags") or {})}
    return {
        **options,
        "prompt": f"{who} wants to use {as_code(call.tool)}{summary_of(given)}",
        "arguments": call.arguments,
        "details": call.details,
        "form": call.form,
        "editable": _editable(call),
        "tags": tags,
    }


def _editable(call: FrameworkCall) -> dict[str, Any] | bool | None:
    """Return the schema of allowed changes; None if the arguments do not fit it, or it cannot be a form."""
    try:
        sensible(Question(prompt=call.tool, arguments=call.arguments, editable=call.editable))
    except BadInput:
        return None
    return call.editable


def objection(call: FrameworkCall, decision: Decision[Any]) -> str | None:
    """Return why a call is refused, for the agent; None if it may be made, with `decision.arguments`."""
    if not decision.approved:
        return refusal(decision)
    try:
        decision.covers(decision.arguments if decision.changed else call.arguments)
    except NotCovered as error:
        return str(error)
    return None


async def used(call: FrameworkCall, decision: Decision[Any], place: Any = None) -> str | None:
    """Do the same as `objection`, and use up an approval with `once`; `place` is as in `Decision.consume`."""
    why = objection(call, decision)
    if why is None and decision.once:
        try:
            using = decision.consume(place)
            if isawaitable(using):
                await using
        except NotCovered as error:
            return str(error)
    return why


def used_now(call: FrameworkCall, decision: Decision[Any]) -> str | None:
    """Do the same as `used`, with a decision that came from a `Hitl`."""
    why = objection(call, decision)
    if why is None and decision.once:
        try:
            decision.consume()
        except NotCovered as error:
            return str(error)
    return why


async def decisions(
    hitl: Hitl | AsyncHitl,
    calls: Sequence[FrameworkCall],
    options: ApprovalOptions,
    timeout: Duration | None,  # noqa: ASYNC109 - of the waits, together
) -> list[Decision[Any] | None]:
    """Ask about all calls at once, and return the decisions, with None where the time ran out."""
    if isinstance(hitl, Hitl):
        return await asyncio.to_thread(decisions_now, hitl, calls, options, timeout)
    for call in calls:
        await hitl.put(id=call.request, **question(call, options))
    end, proof = _end(timeout), options.get("proof")
    return [await _waited(hitl.wait(call.request, timeout=_left(end), proof=proof)) for call in calls]


def decisions_now(
    hitl: Hitl, calls: Sequence[FrameworkCall], options: ApprovalOptions, timeout: Duration | None
) -> list[Decision[Any] | None]:
    """Do the same as `decisions`, and block."""
    for call in calls:
        hitl.put(id=call.request, **question(call, options))
    end, made = _end(timeout), list[Decision[Any] | None]()
    for call in calls:
        try:
            made.append(hitl.wait(call.request, timeout=_left(end), proof=options.get("proof")))
        except TimedOut:
            made.append(None)
    return made


async def _waited(wait: Awaitable[Decision[Any]]) -> Decision[Any] | None:
    """Return the decision; None if the time is up."""
    try:
        return await wait
    except TimedOut:
        return None


def complete(
    calls: Sequence[FrameworkCall], made: Sequence[Decision[Any] | None]
) -> list[tuple[FrameworkCall, Decision[Any]]]:
    """Return each call with its decision. Raises TimedOut if one is missing."""
    if None in made:
        late = calls[made.index(None)].request
        raise TimedOut(f"no answer to {late} yet. It is still open.", code="timed-out")
    return [(call, decision) for call, decision in zip(calls, made, strict=True) if decision]


def _end(timeout: Duration | None) -> float | None:
    return None if timeout is None else time.monotonic() + duration_ms(timeout) / 1_000


def _left(end: float | None) -> Duration | None:
    """Return how long to wait until an end, as a duration."""
    return None if end is None else f"{max(round((end - time.monotonic()) * 1_000), 1)}ms"
