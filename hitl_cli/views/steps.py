"""What a step of a run is called, and its outcome in one line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.client.wire import audit_of, decode, headers_of
from hitl_cli.format.terminal import printable
from hitl_cli.notify.status import notice_in
from hitl_cli.requests.question import prompt_of
from hitl_cli.runs import lifecycle

if TYPE_CHECKING:
    from hitl_cli.runs.steps import RunStep


RESULT_WIDTH = 60
"""Characters of a step's result that the tree shows."""


VOTE_FIELDS = ("verdict", "choice", "reason")
"""What the tree shows of a vote."""


def step_name(node: RunStep) -> str:
    """Return what a step is: of a person's the question, of a remark who made it."""
    call = node.promise.call
    match node.kind:
        case "vote" | "comment" | "revocation":
            return f"{node.kind} of {headers_of(node.promise.param).get('hitl:by', '?')}"
        case "notice":
            notice = notice_in(node.promise)
            return node.kind if notice is None else f"{node.kind} {notice.occasion}"
        case "person":
            prompt = prompt_of(node.promise)
            return node.kind if prompt is None else f"{node.kind} {shorten(prompt)}"
        case _:
            return f"{node.kind} {call.func}" if call is not None else node.kind


def step_outcome(node: RunStep) -> str:
    """Return a step's result or error, or what was said, cut to fit."""
    promise = node.promise
    said = decode(promise.param)
    if node.kind == "vote" and isinstance(said, dict):
        return shorten(" ".join(str(said[name]) for name in VOTE_FIELDS if said.get(name)))
    if node.kind == "comment" and isinstance(said, dict):
        return shorten(str(said.get("comment")))
    if node.kind == "revocation":
        return ""
    if promise.state == "pending":
        what = "approve" if prompt_of(promise) is None else "show"
        return f"hitl {what} {shlex.quote(promise.id)}" if promise.is_blocking else ""
    by = audit_of(promise).by
    who = "" if by is None else f"{'approved' if promise.state == 'resolved' else 'rejected'} by {by}: "
    if promise.state == "resolved":
        data = decode(promise.value)
        return who.removesuffix(": ") if data is None else who + shorten(to_json(data))
    return who + shorten(lifecycle.error_text(promise))


def shorten(text: str) -> str:
    """Return text on one line, cut to fit."""
    line = printable(text)
    return line if len(line) <= RESULT_WIDTH else line[: RESULT_WIDTH - 1] + "…"


def to_json(value: Any) -> str:
    """Return a value as JSON on one line."""
    return msgspec.json.encode(value).decode()
