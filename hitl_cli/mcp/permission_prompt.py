"""`approval_prompt`: the tool that a coding agent calls to ask whether a tool call may run.

For `claude -p --permission-prompt-tool mcp__hitl__approval_prompt`. It returns one text with JSON:
`{"behavior": "allow", "updatedInput": …}` or `{"behavior": "deny", "message": …}`. It fails closed: any
failure becomes a `deny` with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from hitl_cli.agents.decide_call import HookOptions, answering, refused
from hitl_cli.agents.tool_call import ToolCall
from hitl_cli.format.json import to_json
from hitl_cli.mcp.tools import PromptArguments, read_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitl_cli.client.wire import Json
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question_input import QuestionInput

NAME = "approval_prompt"

SESSION = "mcp"
"""The agent does not tell its session: a call is known by its tool_use_id, which is unique."""

EVENT: Literal["PreToolUse"] = "PreToolUse"


async def answered(
    given: dict[str, Any] | None,
    ask: Callable[[QuestionInput], Awaitable[Decision[Json] | None]],
    options: HookOptions,
    *,
    cwd: str | None,
) -> str:
    """Return the text for the agent. `ask` returns the decision, or None if nobody decides in time."""
    try:
        read = read_arguments(given, PromptArguments)
        call = ToolCall(
            session_id=SESSION,
            hook_event_name=EVENT,
            tool_name=read.tool_name,
            tool_input=read.input,
            tool_use_id=read.tool_use_id,
            cwd=cwd,
        )
        asking = answering("claude", call, options)
        decision: Decision[Json] | None = None
        while True:
            try:
                asked = asking.send(decision)
            except StopIteration as end:
                return _text(end.value, read.input)
            decision = await ask(asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the call must not run
        return _text(refused(EVENT, error), {})


def _text(output: dict[str, Any] | None, given: dict[str, Any]) -> str:
    """Return a hook's answer in the format of a permission prompt."""
    said = {} if output is None else output["hookSpecificOutput"]
    if said.get("permissionDecision") == "allow":
        return to_json({"behavior": "allow", "updatedInput": said.get("updatedInput", given)})
    reason = said.get("permissionDecisionReason", "nobody has decided")
    return to_json({"behavior": "deny", "message": reason})
