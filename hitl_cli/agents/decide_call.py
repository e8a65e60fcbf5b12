"""Asks people about a coding agent's tool call, and turns their decision into the hook's answer.

It fails closed: any failure becomes a `deny` with the reason, never an `allow`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.agents.tool_call import AGENTS, Answer, answers_in, hook_output, is_strict, question, refusal
from hitl_cli.client.wire import same_json
from hitl_cli.errors import HitlError, NotCovered
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.requests.question import ProofKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hitl_cli.agents.tool_call import AgentName, ToolCall
    from hitl_cli.python_api.backend import Backend
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question_input import QuestionInput

logger = logging.getLogger(__name__)

TIMES = 1_000
"""How often a person is asked again about one call, because an earlier approval is no longer valid."""


class HookOptions(Struct, frozen=True, kw_only=True):
    """How a hook asks. `wait` and `deadline` are durations; `then` is the answer after `wait`."""

    to: tuple[str, ...] = ()
    deadline: str = "1d"
    proof: ProofKind | None = None
    wait: str = "9m"
    then: Answer = "ask"


def decide_call(
    open_backend: Callable[[], Backend], agent: AgentName, call: ToolCall, options: HookOptions
) -> dict[str, Any] | None:
    """Return what the hook of a call prints (see `hook_output`): a person's decision, or a refusal."""
    event = call.hook_event_name
    try:
        wait_s = parse_duration(options.wait) / 1_000
        backend = open_backend()
        try:
            return _decided(backend, call, answering(agent, call, options), wait_s)
        finally:
            backend.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the call must not run
        return refused(event, error)


def answering(
    agent: AgentName, call: ToolCall, options: HookOptions
) -> Generator[QuestionInput, Decision[Any] | None, dict[str, Any] | None]:
    """Yield what to ask, take the decision, and return the answer. Raises HitlError.

    It is sent None if nobody has decided within `options.wait`. No I/O.
    """
    event = call.hook_event_name
    asked = question(agent, call, to=options.to, deadline=options.deadline, proof=options.proof)
    for number in range(1, TIMES):
        decision = yield asked if number == 1 else replace(asked, id=f"{asked.id}-{number}")
        if decision is None:
            return _unanswered(agent, call, options.then)
        if not decision.approved:
            return hook_output(event, "deny", refusal(decision))
        if call.asks_the_user:
            return hook_output(event, "allow", updated_input=answers_in(call, decision.data))
        changed = _changed_input(call, decision)
        try:
            decision.covers(call.arguments() | ({} if changed is None else {"input": changed}))
        except NotCovered as error:
            if error.code != "approval-expired":
                raise
        else:
            rule = " (a standing rule)" if decision.via == "rule" else ""
            change = "" if changed is None else " with a change"
            by = f"approved by {decision.by or 'another tool'}{rule}{change}"
            given = call.tool_input if changed is None and is_strict(agent, call) else changed
            return hook_output(event, "allow", by, updated_input=given)
    raise NotCovered(f"{asked.id} was asked {TIMES:,} times.")


def _changed_input(call: ToolCall, decision: Decision[Any]) -> dict[str, Any] | None:
    """Return the input that a person approved instead; None if they did not change it."""
    approved = decision.arguments
    found = approved.get("input") if isinstance(approved, dict) else None
    return found if isinstance(found, dict) and not same_json(found, call.tool_input) else None


def refused(event: str, error: Exception) -> dict[str, Any] | None:
    """Return the refusal of a call that cannot be asked."""
    if isinstance(error, HitlError):
        return hook_output(event, "deny", f"hitl: {' '.join([str(error), *error.lines])}")
    logger.error("unexpected error while asking about a tool call", exc_info=error)
    return hook_output(event, "deny", f"hitl failed: {type(error).__name__}: {error}")


def _decided(
    backend: Backend,
    call: ToolCall,
    asking: Generator[QuestionInput, Decision[Any] | None, dict[str, Any] | None],
    wait_s: float,
) -> dict[str, Any] | None:
    """Ask, wait, and return the answer. Raises HitlError."""
    decision: Decision[Any] | None = None
    asked = ""
    while True:
        try:
            one = asking.send(decision)
        except StopIteration as end:
            answer: dict[str, Any] | None = end.value
            break
        asked = backend.put(one)
        decision = backend.decision(asked, wait_s, one)
    if answer is not None and decision is None:
        _add_question(backend, answer["hookSpecificOutput"], asked)
    if answer is not None and answer["hookSpecificOutput"].get("permissionDecision") == "defer":
        _note_deferral(backend, call, asked)
    return answer


def _add_question(backend: Backend, said: dict[str, Any], request: str) -> None:
    """Add a person's question to the reason of an answer without a decision."""
    back = backend.show(request).asked_back
    place, name = said, "permissionDecisionReason"
    if name not in said:
        place, name = said.get("decision", {}), "message"
    if back is not None and name in place:
        how = f"answer it with: {command('answer-back', [request, 'TEXT'])}"
        place[name] += printable(f". {back.by or 'A person'} asks: {back.text} ({how})")


def _note_deferral(backend: Backend, call: ToolCall, request: str) -> None:
    """Record beside the request that a session has ended, to be resumed after the decision."""
    from hitl_cli.agents.deferred import deferral_of

    said = deferral_of(call)
    if said is not None:
        backend.defer(request, said)


def _unanswered(agent: AgentName, call: ToolCall, then: Answer) -> dict[str, Any] | None:
    """Return the hook's answer if nobody has decided in time."""
    event = call.hook_event_name
    if then == "defer":
        return hook_output(event, "defer" if event == "PreToolUse" else "deny")
    late = f"no answer yet. The request is still open: a later answer counts when {AGENTS[agent]} tries again"
    return hook_output(event, "deny" if is_strict(agent, call) else then, late)
