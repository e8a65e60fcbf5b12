"""OpenAI Agents SDK: people approve the tool calls of an agent. Needs `resonate-hitl[openai-agents]`.

@function_tool(needs_approval=True)
def delete(path: str) -> str: ...

result = await run_with_approval(agent, "Clean up", id="clean-1", states=FolderStates("runs"), to="reviewer")
"""

from __future__ import annotations

import json
import os
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from agents import Runner, RunState

from hitl_cli.agents.call_request import ApprovalOptions, FrameworkCall, decisions, objection
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import TimedOut
from hitl_cli.python_api.hitl import AsyncHitl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents import Agent, FunctionTool, RunResult, ToolApprovalItem

    from hitl_cli.format.durations import Duration
    from hitl_cli.python_api.hitl import Hitl

FRAMEWORK = "openai-agents"


_changed: ContextVar[dict[str, Any]] = ContextVar("changed", default={})  # noqa: B039 - it is never changed
"""The arguments that people have approved instead of those of a call, by the id of the call."""


def editable(tool: FunctionTool) -> FunctionTool:
    """Return a tool whose arguments a person may change. The model is told with which it was called.

        agent = Agent(name="cleaner", tools=[editable(delete)])

    The SDK lets nobody change a call that waits, so the tool itself takes the arguments that were approved.
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


class States(Protocol):
    """Where the states of runs are kept while people decide. The content must not come from anyone else."""

    def load(self, run: str) -> str | None:
        """Return the state of a run; None if there is none."""

    def save(self, run: str, state: str) -> None:
        """Keep the state of a run, in place of an earlier one."""

    def forget(self, run: str) -> None:
        """Remove the state of a run, if there is one."""


class FolderStates:
    """Keeps each state in a file of a folder, which only its owner can read."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def load(self, run: str) -> str | None:
        """Return the state of a run. See States."""
        try:
            return self._file(run).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def save(self, run: str, state: str) -> None:
        """Keep the state of a run. See States."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file(run).with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(state)
        new.replace(self._file(run))

    def forget(self, run: str) -> None:
        """Remove the state of a run. See States."""
        self._file(run).unlink(missing_ok=True)

    def _file(self, run: str) -> Path:
        return self._folder / f"{quote(run, safe='')}.json"


async def run_with_approval(
    agent: Agent[Any],
    input: Any = None,  # noqa: A002 - its name in Runner.run
    *,
    id: str,
    states: States,
    hitl: Hitl | AsyncHitl | None = None,
    to: str | Sequence[str] = (),
    deadline: Duration | None = None,
    timeout: Duration | None = None,  # noqa: ASYNC109 - of a wait for people
    options: ApprovalOptions | None = None,
    **run: Any,
) -> RunResult:
    """Run an agent as `Runner.run` does, and have people approve the tool calls that need approval.

        result = await run_with_approval(agent, "Clean up", id="clean-1", states=FolderStates("runs"))

    While people decide, the state of the run is kept under `id`. A process that calls this again, with the
    same agent and id, goes on there: `input` is for a run that has not begun. One tool call is one request,
    however often it is asked. If a process dies while approved tools run, they run again.

    Approved, the tool runs; rejected, the model is told the reason. Calls that wait are asked at once.

    - `hitl`: where to ask; by default `AsyncHitl()`.
    - `to`, `deadline`, `options`: who may answer, until when, and other options of `Hitl.ask`.
    - `timeout`: how long to wait each time. Then it raises TimedOut; the requests stay open.
    - `run`: other arguments of `Runner.run`, such as `context` or `max_turns`.
    """
    hitl = hitl or AsyncHitl()
    asked: ApprovalOptions = {"to": to, "deadline": deadline, **(options or {})}
    kept = states.load(id)
    if kept is None:
        name = f"{id}/{fresh_id()}"  # the ids of calls are unique in a run, but not for every model in two
        result = await Runner.run(agent, input, **run)
    else:
        name, text = json.loads(kept)
        state = await RunState.from_string(agent, text)
        result = await _resumed(agent, state, name, hitl, asked, timeout, run)
    while result.interruptions:
        state = result.to_state()
        states.save(id, json.dumps([name, state.to_string()]))
        result = await _resumed(agent, state, name, hitl, asked, timeout, run)
    states.forget(id)
    return result


async def _resumed(
    agent: Agent[Any],
    state: RunState[Any, Any],
    name: str,
    hitl: Hitl | AsyncHitl,
    options: ApprovalOptions,
    timeout: Duration | None,  # noqa: ASYNC109
    run: dict[str, Any],
) -> RunResult:
    """Have people decide what a run waits for, and let it go on."""
    items = state.get_interruptions()
    calls = [_call(item, name) for item in items]
    made = await decisions(hitl, calls, options, timeout)
    changed = {}
    for item, call, decision in zip(items, calls, made, strict=True):
        if decision is None:
            raise TimedOut(f"no answer to {call.request} yet. The run is kept.", code="timed-out")
        if (why := objection(call, decision)) is not None:
            state.reject(item, rejection_message=why)
            continue
        state.approve(item)
        if decision.changed:
            changed[call.id] = decision.arguments
    _changed.set(_changed.get() | changed)
    return await Runner.run(agent, state, **run)


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
