"""How the commands show states, outcomes and steps of runs: words, marks and colors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local
from hitl_cli.views.steps import KIND_WORDS, REMARKS, retry_text, sleeps_until, step_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.runs.steps import RunStep

RUN_COLORS = {
    "running": "blue",
    "waiting": "yellow",
    "completed": "green",
    "failed": "red",
    "canceled": "magenta",
    "expired": "magenta",
}
OUTCOME_COLORS = {
    "approved": "green",
    "rejected": "red",
    "expired": "magenta",
    "canceled": "magenta",
}
END_COLORS = OUTCOME_COLORS | RUN_COLORS

_MARKS = {
    "pending": "…",
    "resolved": "✓",
    "rejected": "✗",
    "rejected_canceled": "⊘",
    "rejected_timedout": "⌛",
}
"""The mark before a step, by the state of its promise."""

_RESULT_WIDTH = 60
"""Maximum characters of a prompt, result or comment on one line."""


def step_mark(node: RunStep) -> str:
    """Return the mark for the state of a step."""
    return _MARKS[node.promise.state]


def step_name(node: RunStep, beside: Sequence[RunStep] = ()) -> str:
    """Return the kind of a step and its name, or the author of a remark; `beside` are its siblings."""
    step = step_summary(node, 0)
    if step.kind in REMARKS:
        return f"{step.kind} of {step.by or '?'}"
    name = shorten(step.name) if step.kind == "person" and step.name else step.name
    if until := sleeps_until(node, beside):
        name = f"{until[0]} {local(until[1])}"
    kind = KIND_WORDS.get(step.kind, step.kind)
    return f"{kind} {name}" if name else kind


def step_outcome(node: RunStep) -> str:
    """Return the result of a step, cut to fit; for an open request, the command that answers it."""
    step = step_summary(node, 0)
    if step.state == "waiting":
        what = "approve" if step.name is None else "show"
        return command(what, [step.id])
    tried_again = node.retries and node.promise.state == "pending"
    said = printable(retry_text(node.retries, local)) if tried_again else shorten(step.said or "")
    if step.by is None or step.kind in REMARKS:
        return said
    return f"{step.state} by {step.by}{': ' if said else ''}{said}"


def shorten(text: str) -> str:
    """Return text on one line, cut to fit."""
    line = printable(text)
    return line if len(line) <= _RESULT_WIDTH else line[: _RESULT_WIDTH - 1] + "…"
