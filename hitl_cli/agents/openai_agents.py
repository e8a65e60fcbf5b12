"""OpenAI Agents SDK: people approve the tool calls of an agent. Needs `resonate-hitl[openai-agents]`.

@function_tool(needs_approval=True)
def delete(path: str) -> str: ...

result = await run_with_approval(agent, "Clean up", id="clean-1", to="reviewer")
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hitl_cli.agents.call_request import (
    FrameworkCall,
    complete,
    decisions,
    opened,
    options_of,
    question,
    used,
)
from hitl_cli.agents.run_states import FolderStates, PlaceOfRun, States
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import extra
from hitl_cli.python_api.backend import ServerStates

with extra("openai-agents"):
    from agents import Runner, RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents import Agent, FunctionTool, RunResult, ToolApprovalItem
    from resonate.context import Context

    from hitl_cli.format.durations import Duration
    from hitl_cli.python_api.hitl import AsyncHitl, Hitl
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question_input import ApprovalOptions

__all__ = ["FolderStates", "ServerStates", "States", "editable", "run_in_workflow", "run_with_approval"]

FRAMEWORK = "openai-agents"

_changed: ContextVar[dict[str, Any]] = ContextVar("changed", default={})  # noqa: B039 - it is never changed
"""The arguments that people have approved instead of those of a call, by the id of the call."""


async def run_with_approval(
    agent: Agent[Any],
    input: Any = None,  # noqa: A002 - its name in Runner.run
    *,
    id: str,
    states: States | None = None,
    hitl: Hitl | AsyncHitl | None = None,
    to: str | Sequence[str] = (),
    deadline: Duration | None = None,
    timeout: Duration | None = None,  # noqa: ASYNC109 - of a wait for people
    options: ApprovalOptions | None = None,
    **run: Any,
) -> RunResult:
    """Run an agent as `Runner.run` does; people approve the tool calls that need approval.

        result = await run_with_approval(agent, "Clean up", id="clean-1")

    While people decide, the state of the run is stored under `id`, on the server beside the requests. A
    process on any machine that calls this again with the same agent, id and asker continues the run; `input`
    is then ignored. One tool call is one request, even if a process asks again. If a process dies while
    approved tools run, they run again.

    After an approval, the tool runs. After a rejection, the model gets the reason. Several pending calls are
    asked about at the same time.

    - `hitl`: where to ask; by default `AsyncHitl()`.
    - `states`: where to keep the states; by default `hitl.states`. `FolderStates("runs")` is a folder.
    - `to`, `deadline`, `options`: who may answer, until when, and other options of `Hitl.ask`.
    - `timeout`: how long to wait each time. Then it raises TimedOut; the requests stay open.
    - `run`: other arguments of `Runner.run`, such as `context` or `max_turns`.
    """
    asked = options_of(to, deadline, options)
    async with opened(hitl) as asker:
        place = PlaceOfRun(asker.states if states is None else states, id)
        kept = await place.load()
        if kept is None:
            name = f"{id}/{fresh_id()}"  # some models use the same call ids in every run
            result = await Runner.run(agent, input, **run)
        else:
            name, text = json.loads(kept)
            state = await RunState.from_string(agent, text)
            result = await _resumed(agent, state, name, asker, asked, timeout, run)
        while result.interruptions:
            state = result.to_state()
            await place.save(json.dumps([name, state.to_string()]))
            result = await _resumed(agent, state, name, asker, asked, timeout, run)
        await place.forget()
    return result


async def run_in_workflow(
    ctx: Context,
    agent: Agent[Any],
    input: Any,  # noqa: A002
    *,
    to: str | Sequence[str] = (),
    deadline: Duration | None = None,
    options: ApprovalOptions | None = None,
    **run: Any,
) -> Any:
    """Run an agent in a workflow, and return its final output. While people decide, no process waits.

        @workflow
        async def clean(ctx: Context, what: str) -> str:
            return await run_in_workflow(ctx, agent, what, to="reviewer")

    All that the agent does until it waits is one step, which does not run again once it has ended. Its result
    is the state of the run, so any worker can continue it. The other arguments are those of
    `run_with_approval`. The output is stored as JSON.
    """
    from hitl_cli.authoring.ask import ask, ask_all

    asked = options_of(to, deadline, options)
    text: str | None = None
    said: list[_Said] = []

    async def go_on(_ctx: Context) -> dict[str, Any]:
        begun = input if text is None else await RunState.from_string(agent, text)
        if text is not None:
            _tell(begun, begun.get_interruptions(), said)
        result = await Runner.run(agent, begun, **run)
        waits = bool(result.interruptions)
        return {"state": result.to_state().to_string()} if waits else {"output": result.final_output}

    while "output" not in (ended := await ctx.run(go_on)):
        text = ended["state"]
        items = (await RunState.from_string(agent, text)).get_interruptions()
        calls = [_call(item, ctx.info.origin_id) for item in items]
        made = await ask_all(*(ask(ctx, **question(call, asked)) for call in calls))
        said = [await _said(call, decision, ctx) for call, decision in zip(calls, made, strict=True)]
    return ended["output"]


def editable(tool: FunctionTool) -> FunctionTool:
    """Return a tool whose arguments a person may change. Its result tells the model the changed arguments.

        agent = Agent(name="cleaner", tools=[editable(delete)])

    The SDK cannot change a pending call, so the tool itself uses the approved arguments.
    """
    invoke = tool.on_invoke_tool

    async def with_approved(ctx: Any, given: str) -> Any:
        changed = _changed.get().get(ctx.tool_call_id)
        if changed is None:
            return await invoke(ctx, given)
        text = json.dumps(changed)
        return f"A person has changed the arguments to {text}. Result: {await invoke(ctx, text)}"

    with_approved.schema = tool.params_json_schema  # type: ignore[attr-defined]
    return replace(tool, on_invoke_tool=with_approved)


async def _resumed(
    agent: Agent[Any],
    state: RunState[Any, Any],
    name: str,
    hitl: Hitl | AsyncHitl,
    options: ApprovalOptions,
    timeout: Duration | None,  # noqa: ASYNC109
    run: dict[str, Any],
) -> RunResult:
    """Wait until people have decided the pending calls of a run, and continue it."""
    items = state.get_interruptions()
    calls = [_call(item, name) for item in items]
    made = await decisions(hitl, calls, options, timeout)
    said = [await _said(call, decision) for call, decision in complete(calls, made)]
    _tell(state, items, said)
    return await Runner.run(agent, state, **run)


class _Said(NamedTuple):
    """A decision on a call: why it is refused, or its arguments if a person changed them."""

    call: str
    why: str | None
    changed: Any


async def _said(call: FrameworkCall, decision: Decision[Any], place: Any = None) -> _Said:
    why = await used(call, decision, place)
    return _Said(call.id, why, decision.arguments if decision.changed else None)


def _tell(state: RunState[Any, Any], items: Sequence[ToolApprovalItem], said: Sequence[_Said]) -> None:
    """Write decisions into the state of a run that continues in this task."""
    for item, one in zip(items, said, strict=True):
        if one.why is not None:
            state.reject(item, rejection_message=one.why)
        else:
            state.approve(item)
    changed = {one.call: one.changed for one in said if one.why is None and one.changed is not None}
    _changed.set(_changed.get() | changed)


def _call(item: ToolApprovalItem, run: str) -> FrameworkCall:
    """Return the tool call that an agent wants to make."""
    try:
        arguments = json.loads(item.arguments or "{}")
    except ValueError:
        arguments = item.arguments
    tool = next((each for each in item.agent.tools if each.name == item.name), None)
    call = item.call_id or json.dumps([item.qualified_name, arguments], sort_keys=True)
    return FrameworkCall(
        framework=FRAMEWORK,
        run=run,
        id=call,
        tool=item.qualified_name or item.name or "a tool",
        arguments=arguments,
        agent=item.agent.name,
        editable=getattr(getattr(tool, "on_invoke_tool", None), "schema", None),
    )
