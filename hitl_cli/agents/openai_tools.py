"""Tools of the OpenAI Agents SDK whose arguments a person may change."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import FunctionTool

changed_arguments: ContextVar[dict[str, Any]] = ContextVar("changed", default={})  # noqa: B039 - it is never changed
"""The arguments that people have approved instead of those of a call, by the id of the call."""


def editable(tool: FunctionTool) -> FunctionTool:
    """Return a tool whose arguments a person may change. The model is told with which it was called.

        agent = Agent(name="cleaner", tools=[editable(delete)])

    The SDK lets nobody change a call that waits, so the tool itself takes the arguments that were approved.
    """
    invoke = tool.on_invoke_tool

    async def with_approved(ctx: Any, given: str) -> Any:
        changed = changed_arguments.get().get(ctx.tool_call_id)
        if changed is None:
            return await invoke(ctx, given)
        text = json.dumps(changed)
        return f"A person has changed the arguments to {text}. Result: {await invoke(ctx, text)}"

    with_approved.schema = tool.params_json_schema  # type: ignore[attr-defined]
    return replace(tool, on_invoke_tool=with_approved)
