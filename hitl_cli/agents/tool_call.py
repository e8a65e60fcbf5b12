"""The input and output of a coding agent's hook for a tool call. No I/O.

The JSON is that of the hooks of Claude Code (`PreToolUse`, `PermissionRequest`) and Codex
(the same), seen with @anthropic-ai/claude-code 2.1.197, @openai/codex 0.171.0 and codex-rs/hooks/schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from hitl_cli.errors import BadInput, BadJson
from hitl_cli.format.canonical_json import json_digest
from hitl_cli.format.json import to_json
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.terminal import printable
from hitl_cli.format.validation import in_document
from hitl_cli.inspected import inspected
from hitl_cli.requests.editable import shape_of
from hitl_cli.requests.question import Question, not_askable, sensible
from hitl_cli.requests.question_input import OfferInput, QuestionInput
from hitl_cli.rules.matching import MAIN, TOOL, at, check_where, matches
from hitl_cli.rules.wildcards import WILD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question import ProofKind

type AgentName = Literal["claude", "codex"]
type Answer = Literal["allow", "deny", "ask", "defer"]
"""`ask` leaves it to the agent's own prompt; `defer` ends the agent's process until it is resumed."""

AGENTS: dict[AgentName, str] = {"claude": "Claude Code", "codex": "Codex"}

ASKS_THE_USER = "AskUserQuestion"
"""The tool of Claude Code that asks the user a question with options."""

SUMMARY = 80
"""Most characters of a call in the title of its request."""

TELLING = ("command", "file_path", "path", "url", "query", "pattern", "description")
"""Fields of a tool's input that say most about a call, the best first."""

CHANGEABLE = {
    "Bash": ("command",),
    "Edit": ("new_string",),
    "NotebookEdit": ("new_source",),
    "WebFetch": ("url", "prompt"),
    "Write": ("content",),
}
"""The texts in the input of a known tool that a person may change."""

CHANGEABLE_CHARS = 50_000
"""Longest arguments that can be changed, as JSON: a form holds no more than twice as much."""

VALID_FOR = "10m"
"""How long an approval of a call without an id may be used: later the same call is asked again."""


class ToolCall(Struct, frozen=True, kw_only=True):
    """A tool call that an agent wants to make: the stdin of its hook. Unknown fields are ignored."""

    session_id: str
    hook_event_name: Literal["PreToolUse", "PermissionRequest"]
    tool_name: str
    tool_input: dict[str, Any]
    tool_use_id: str | None = None
    turn_id: str | None = None
    prompt_id: str | None = None
    cwd: str | None = None
    agent_type: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return exactly what is approved."""
        return {"tool": self.tool_name, "input": self.tool_input, "cwd": self.cwd}

    @property
    def asks_the_user(self) -> bool:
        """Whether the call is a question to the user, not something to do."""
        return self.tool_name == ASKS_THE_USER and self.hook_event_name == "PreToolUse"


def read_call(raw: bytes) -> ToolCall:
    """Return the call in a hook's input. Raises BadJson."""
    try:
        return msgspec.json.decode(raw, type=inspected(ToolCall))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJson(
            f"stdin is not a call as an agent gives it to its hook: {in_document(error, ToolCall)}."
        ) from error


def request_id(agent: AgentName, call: ToolCall) -> str:
    """Return the id of the request for a call, the same each time the hook runs for it. Raises BadInput.

    A call without an id of its own is identified by its session, its turn and its digest.
    """
    if call.tool_use_id is not None:
        return f"{agent}-{stable_id(to_json([call.session_id, call.tool_use_id]).encode(), 24)}"
    try:
        digest = json_digest(call.arguments())
    except ValueError as error:
        raise not_askable(f"the tool's input cannot be written as canonical JSON: {error}.") from error
    turn = call.turn_id or call.prompt_id
    return f"{agent}-{stable_id(to_json([call.session_id, turn, digest]).encode(), 24)}"


def question(
    agent: AgentName,
    call: ToolCall,
    *,
    to: tuple[str, ...],
    deadline: str,
    proof: ProofKind | None = None,
) -> QuestionInput:
    """Return what to ask about a call."""
    asked = QuestionInput(
        prompt=f"{AGENTS[agent]} wants to use {as_code(call.tool_name)}{summary_of(call.tool_input)}",
        id=request_id(agent, call),
        arguments=call.arguments(),
        details={"session": call.session_id} | ({"agent": call.agent_type} if call.agent_type else {}),
        to=to,
        deadline=deadline,
        valid_for=None if call.tool_use_id is not None else VALID_FOR,
        offer=None if proof is not None else _offer(call),
        proof=proof,
        editable=_editable(call) if agent == "claude" or is_strict(agent, call) else None,
        tags={"agent": agent, "tool": call.tool_name[:SUMMARY]},
    )
    if not call.asks_the_user:
        return asked
    return msgspec.structs.replace(
        asked,
        prompt=f"{AGENTS[agent]} asks a question",
        form=question_form(call),
        arguments=None,
        offer=None,
        editable=None,
    )


def is_strict(agent: AgentName, call: ToolCall) -> bool:
    """Whether the agent runs the call unless the answer is a refusal, or an approval with the input to run.

    Codex does so in PreToolUse, seen with 0.171.0. In PermissionRequest it takes no changed input.
    """
    return agent == "codex" and call.hook_event_name == "PreToolUse"


def _editable(call: ToolCall) -> dict[str, Any] | None:
    """Return the schema of the changes that a person may make to the input; None if there cannot be a form.

    For a known tool it has only the texts that matter: these are certain to fit, without a check.
    """
    if call.tool_name in CHANGEABLE:
        names = [name for name in CHANGEABLE[call.tool_name] if isinstance(call.tool_input.get(name), str)]
        fits = names and len(to_json(call.arguments())) <= CHANGEABLE_CHARS
        texts = {name: {"type": "string"} for name in names}
        return {"properties": {"input": {"properties": texts}}} if fits else None
    fixed = {"tool": call.tool_name, "cwd": call.cwd}
    fields = {name: {"const": value, "readOnly": True} for name, value in fixed.items()}
    schema = {
        "type": "object",
        "properties": {**fields, "input": shape_of(call.tool_input)},
        "required": [*fields, "input"],
        "additionalProperties": False,
    }
    try:
        sensible(Question(prompt=call.tool_name, arguments=call.arguments(), editable=schema))
    except BadInput:
        return None
    return schema


def _offer(call: ToolCall) -> OfferInput | None:
    """Return the rule to offer, for exactly this call in this folder; None if a rule might match other calls.

    A `*` in the call would also match other calls.
    """
    main = MAIN.get(call.tool_name)
    said = {"input": call.tool_input} if main is None else {main: at(call.arguments(), main)}
    where = {TOOL: call.tool_name} | said | ({} if call.cwd is None else {"cwd": call.cwd})
    if any(isinstance(value, str) and WILD in value for value in where.values()):
        return None
    try:
        check_where(where)
    except BadInput:
        return None
    return OfferInput(where=where) if matches(where, call.arguments(), None, allow=True) else None


def refusal(decision: Decision[Any]) -> str:
    """Return the reason of a refusal, for the agent."""
    if decision.expired:
        return f"nobody answered {decision.id} before its deadline"
    return f"rejected by {decision.by or 'another tool'}: {decision.reason}"


def summary_of(arguments: Mapping[str, Any]) -> str:
    """Return what a call does in a few words, for its title."""
    telling = (arguments.get(name) for name in TELLING)
    said = next((text for text in telling if isinstance(text, str) and text.strip()), "")
    return f": {as_code(said)}" if said else ""


def as_code(text: str) -> str:
    """Return text of an agent as inline code of Markdown, escaped so that the text cannot end it."""
    line = " ".join(text.replace("`", "'").split())
    return f"`{line if len(line) <= SUMMARY else line[: SUMMARY - 1] + '…'}`"


# Questions of the agent to its user


def question_form(call: ToolCall) -> dict[str, Any]:
    """Return the form with a field for each question of `AskUserQuestion`. Raises BadInput."""
    fields: dict[str, Any] = {}
    for number, one in enumerate(_questions(call), 1):
        labels = [option.label for option in one.options]
        choice: dict[str, Any] = {"type": "string", "enum": labels}
        about = "\n".join(
            f"{option.label}: {option.description}" for option in one.options if option.description
        )
        told = {"title": one.question} | ({"description": about} if about else {})
        several = {"type": "array", "items": choice, "minItems": 1, "uniqueItems": True}
        fields[f"q{number}"] = (several if one.multi_select else choice) | told
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def answers_in(call: ToolCall, data: dict[str, Any]) -> dict[str, Any]:
    """Return the input of `AskUserQuestion` with the answers."""
    answers = {}
    for number, one in enumerate(_questions(call), 1):
        answer = data[f"q{number}"]
        answers[one.question] = ", ".join(answer) if isinstance(answer, list) else answer
    return {**call.tool_input, "answers": answers}


class _Option(Struct, frozen=True):
    label: str
    description: str = ""


class _UserQuestion(Struct, frozen=True, rename={"multi_select": "multiSelect"}):
    question: str
    options: tuple[_Option, ...]
    multi_select: bool = False


def _questions(call: ToolCall) -> tuple[_UserQuestion, ...]:
    """Return the questions of a call of `AskUserQuestion`. Raises BadInput."""
    try:
        return msgspec.convert(call.tool_input.get("questions"), inspected(tuple[_UserQuestion, ...]))
    except msgspec.ValidationError as error:
        raise not_askable(f"the questions of the agent are not valid: {error}.") from error


# Answers


def hook_output(
    event: str, answer: Answer, reason: str = "", updated_input: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return what the hook prints as JSON; None to print nothing, so that the agent shows its own prompt."""
    reason = printable(reason)
    changed = {} if updated_input is None or answer != "allow" else {"updatedInput": updated_input}
    if event == "PreToolUse":
        said = {"permissionDecisionReason": reason} if reason else {}
        output = {"hookEventName": event, "permissionDecision": answer, **said, **changed}
        return {"hookSpecificOutput": output}
    if answer == "ask":
        return None
    behavior = "allow" if answer == "allow" else "deny"
    said = {"message": reason} if reason and behavior == "deny" else {}
    output = {"hookEventName": event, "decision": {"behavior": behavior, **said, **changed}}
    return {"hookSpecificOutput": output}
