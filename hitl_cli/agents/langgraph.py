"""LangGraph and LangChain: people answer `HumanInTheLoopMiddleware`. Needs `resonate-hitl[langgraph]`.

middleware = [HumanInTheLoopMiddleware({"delete": True})]
agent = create_agent(model, tools, middleware=middleware, checkpointer=saver)
result = run_with_approval(agent, {"messages": "Clean up"}, thread="clean-1", to="reviewer")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.agents.call_request import (
    FrameworkCall,
    complete,
    decisions,
    decisions_now,
    opened,
    opened_now,
    options_of,
    used,
    used_now,
)
from hitl_cli.errors import extra
from hitl_cli.requests.decision import Decision, Rejected

with extra("langgraph"):
    from langgraph.types import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langgraph.types import Interrupt

    from hitl_cli.format.durations import Duration
    from hitl_cli.python_api.hitl import AsyncHitl, Hitl
    from hitl_cli.requests.question_input import ApprovalOptions

FRAMEWORK = "langgraph"
INTERRUPTS = "__interrupt__"
KINDS = ("approve", "edit", "reject", "respond")
UNNAMED = "LangGraph"

USUAL = "Tool execution requires approval\n"  # the beginning of a description that only repeats the call
RESPONSE = {"type": "string", "title": "Answer to the agent"}  # the form of a tool that a person answers


def run_with_approval(
    graph: Any,
    input: Any = None,  # noqa: A002 - its name in `invoke`
    *,
    thread: str,
    hitl: Hitl | None = None,
    to: str | Sequence[str] = (),
    deadline: Duration | None = None,
    timeout: Duration | None = None,
    options: ApprovalOptions | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """Run a graph as `invoke` does; people answer the interrupts of `HumanInTheLoopMiddleware`.

        result = run_with_approval(agent, {"messages": "Clean up"}, thread="clean-1", to="reviewer")

    The graph needs a checkpointer. If its thread was interrupted before, perhaps in another process, it
    continues from there, and `input` is ignored. One tool call is one request, even if a process asks again.
    Several pending calls are asked about at the same time. After a rejection, the model gets the reason.

    - `hitl`: where to ask; by default `Hitl()`.
    - `to`, `deadline`, `options`: who may answer, until when, and other options of `Hitl.ask`.
    - `timeout`: how long to wait each time. Then it raises TimedOut; the requests stay open.
    - `config`: more of the graph's config.

    Interrupts of other kinds are left in the result, as `invoke` does.
    """
    asked, whole = options_of(to, deadline, options), _config(thread, config or {})
    found = graph.get_state(whole).interrupts
    result = {INTERRUPTS: list(found)} if found else graph.invoke(input, whole)
    while calls := _calls(graph, thread, result):
        requests = [call.request for call in calls]
        with opened_now(hitl) as asker:
            made = complete(requests, decisions_now(asker, requests, asked, timeout))
            whys = [used_now(call, decision) for call, decision in made]
        result = graph.invoke(Command(resume=_resume(calls, made, whys)), whole)
    return result


async def arun_with_approval(
    graph: Any,
    input: Any = None,  # noqa: A002
    *,
    thread: str,
    hitl: Hitl | AsyncHitl | None = None,
    to: str | Sequence[str] = (),
    deadline: Duration | None = None,
    timeout: Duration | None = None,  # noqa: ASYNC109 - of a wait for people
    options: ApprovalOptions | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """Do the same with `ainvoke`. See run_with_approval."""
    asked, whole = options_of(to, deadline, options), _config(thread, config or {})
    found = (await graph.aget_state(whole)).interrupts
    result = {INTERRUPTS: list(found)} if found else await graph.ainvoke(input, whole)
    while calls := _calls(graph, thread, result):
        requests = [call.request for call in calls]
        async with opened(hitl) as asker:
            made = complete(requests, await decisions(asker, requests, asked, timeout))
            whys = [await used(call, decision) for call, decision in made]
        result = await graph.ainvoke(Command(resume=_resume(calls, made, whys)), whole)
    return result


class _Asked(msgspec.Struct, frozen=True):
    """A call that an interrupt is about. `alone`: the interrupt is about this call only."""

    interrupt: str
    alone: bool
    request: FrameworkCall
    allowed: frozenset[str]


def _config(thread: str, given: dict[str, Any]) -> dict[str, Any]:
    return given | {"configurable": given.get("configurable", {}) | {"thread_id": thread}}


def _calls(graph: Any, thread: str, result: Any) -> list[_Asked]:
    """Return the calls that the middleware's interrupts are about."""
    found: Sequence[Interrupt] = result.get(INTERRUPTS, ()) if isinstance(result, dict) else ()
    return [call for interrupt in found for call in _calls_of(interrupt, graph, thread)]


def _calls_of(interrupt: Interrupt, graph: Any, thread: str) -> list[_Asked]:
    value = interrupt.value if isinstance(interrupt.value, dict) else {}
    if value.get("type") == "tool_approval":
        allowed = _allowed_by(interrupt.response_schema)
        call = _request(value, graph, thread, interrupt.id, allowed)
        return [_Asked(interrupt.id, True, call, allowed)]
    configs = {config["action_name"]: config for config in value.get("review_configs", ())}
    asked = []
    for number, action in enumerate(value.get("action_requests", ())):
        allowed = frozenset(configs[action["name"]]["allowed_decisions"])
        call = _request(action, graph, thread, f"{interrupt.id}.{number}", allowed)
        asked.append(_Asked(interrupt.id, False, call, allowed))
    return asked


def _request(
    action: dict[str, Any], graph: Any, thread: str, id: str, allowed: frozenset[str]
) -> FrameworkCall:
    name, description = getattr(graph, "name", None), action.get("description") or ""
    answers = "respond" in allowed and allowed.isdisjoint({"approve", "edit"})
    return FrameworkCall(
        framework=FRAMEWORK,
        run=thread,
        id=id,
        tool=action["name"],
        arguments=action["args"],
        agent=None if name == UNNAMED else name,
        details=None if description.startswith(USUAL) else description or None,
        form=RESPONSE if answers else None,
        editable="edit" in allowed or None,
    )


def _allowed_by(schema: Any) -> frozenset[str]:
    """Return the decisions that a schema allows."""
    text = msgspec.json.encode(schema).decode()
    return frozenset(kind for kind in KINDS if f'"const":"{kind}"' in text)


def _resume(
    calls: Sequence[_Asked],
    made: Sequence[tuple[FrameworkCall, Decision[Any]]],
    whys: Sequence[str | None],
) -> dict[str, Any]:
    """Return the answers that resume the graph, by the ids of interrupts. A call with a `why` is refused."""
    resumed: dict[str, Any] = {}
    for call, (_, decision), why in zip(calls, made, whys, strict=True):
        answer = _answer(call, decision, why)
        if call.alone:
            resumed[call.interrupt] = answer
        else:
            resumed.setdefault(call.interrupt, {"decisions": []})["decisions"].append(answer)
    return resumed


def _answer(call: _Asked, decision: Decision[Any], why: str | None) -> dict[str, Any]:
    """Return a decision as the middleware takes it: a refusal if there is a `why`."""
    if why is None and call.request.form is not None:
        return {"type": "respond", "message": decision.data}
    if why is None and "approve" in call.allowed and not decision.changed:
        return {"type": "approve"}
    if why is None:
        return {"type": "edit", "edited_action": {"name": call.request.tool, "args": decision.arguments}}
    refusal = next((kind for kind in ("reject", "respond") if kind in call.allowed), None)
    if refusal is None:
        raise Rejected(why)
    return {"type": refusal, "message": why}
