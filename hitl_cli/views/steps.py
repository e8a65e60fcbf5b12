"""Steps of a run: their name, state and result, for every front end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.client.wire import Json, audit_of, decode, headers_of
from hitl_cli.format.json import to_json
from hitl_cli.format.times import iso
from hitl_cli.notify.status import notice_in
from hitl_cli.requests.outcome import given_reason
from hitl_cli.requests.question import outcome_of, prompt_of
from hitl_cli.runs.run import ENDED, error_text
from hitl_cli.runs.steps import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.wire import Promise
    from hitl_cli.runs.steps import Retry, RunStep

REMARKS = ("vote", "comment", "revocation", "use", "amendment", "thread")
"""The kinds of steps that only record what a person wrote; `by` is their author."""

KIND_WORDS: dict[Kind, str] = {"person": "request", "notice": "notification", "thread": "question"}
"""Words for kinds that are not shown under their own name."""

VOTE_FIELDS = ("verdict", "choice", "reason")
"""The parts of a vote that are shown."""


class StepSummary(Struct, frozen=True, kw_only=True):
    """A step of a run in one line.

    `name` is the function, the prompt of a request (Markdown) or the occasion of a notification. `state` is
    the outcome of a request (`waiting` while it is open), otherwise `pending` or the step's final state. `by`
    is who decided, or the author of a vote or comment. `text` is the text of a vote or comment, or why a step
    failed; `result` is what the step returned. `took_ms` is its duration so far.
    """

    id: str
    kind: Kind
    name: str | None
    state: str
    by: str | None
    text: str | None
    result: Json
    took_ms: int

    @property
    def said(self) -> str | None:
        """The text, or the result as JSON on one line; None for neither."""
        return to_json(self.result) if self.text is None and self.result is not None else self.text


def step_summary(node: RunStep, now: int) -> StepSummary:
    """Return a step in one line; `now` is ms since the epoch."""
    promise = node.promise
    remark = node.kind in REMARKS
    return StepSummary(
        id=promise.id,
        kind=node.kind,
        name=_name_of(node),
        state=_state_of(node),
        by=_author_of(promise) if remark else audit_of(promise).by,
        text=_text_of(node),
        result=None if remark or _is_ask(node) or promise.state != "resolved" else decode(promise.value),
        took_ms=max((promise.settled_at or now) - promise.created_at, 0),
    )


def _author_of(record: Promise) -> str | None:
    """Return the author of a record: from its headers, or for a use of an approval, from its data."""
    said = decode(record.param)
    by = headers_of(record.param).get("hitl:by") or (said.get("by") if isinstance(said, dict) else None)
    return by if isinstance(by, str) else None


def sleeps_until(node: RunStep, beside: Sequence[RunStep] = ()) -> tuple[str, int] | None:
    """Return what a sleep is for, to be followed by its end (ms since the epoch); None for another step.

    Those `beside` it are its siblings: next to a request, it is the sleep of `ask` until a reminder.
    """
    if node.kind != "sleep" or node.promise.state != "pending":
        return None
    asks = any(one.kind == "person" for one in beside)
    return "until the next reminder or escalation," if asks else "until", node.promise.timeout_at


def _name_of(node: RunStep) -> str | None:
    """Return the name of a step; None if it has none."""
    if node.kind == "person":
        return prompt_of(node.promise)
    if node.kind == "notice" and (notice := notice_in(node.promise)) is not None:
        return notice.occasion
    return node.promise.function


def _state_of(node: RunStep) -> str:
    """Return the state of a step."""
    if node.kind == "person":
        return outcome_of(node.promise) or "waiting"
    return ENDED.get(node.promise.state, "pending")


def _text_of(node: RunStep) -> str | None:
    """Return the text of a vote or comment, or why a step did not complete; None for neither."""
    promise = node.promise
    if node.retries and promise.state == "pending":
        return retry_text(node.retries)
    if node.kind in REMARKS:
        said = decode(promise.param)
        return _remark_in(node.kind, said) if isinstance(said, dict) else None
    ended_badly = promise.state not in ("pending", "resolved")
    return given_reason(_state_of(node), error_text(promise)) if ended_badly and not _is_ask(node) else None


def retry_text(retries: Sequence[Retry], write: Callable[[int], str] = iso) -> str:
    """Return how often a step failed, when the next attempt is, and the last error."""
    last = retries[-1]
    times = "once" if len(retries) == 1 else f"{len(retries)} times"
    where = f" ({last.where})" if last.where else ""
    return f"failed {times}; next attempt {write(last.again)}; {last.error}{where}"


def _remark_in(kind: Kind, said: dict[str, Any]) -> str | None:
    """Return the text of a vote, a comment or an amendment."""
    if kind == "amendment":
        return " ".join([str(said.get("kind", "")), *map(str, said.get("to", ()))])
    if kind == "vote":
        return " ".join(str(said[name]) for name in VOTE_FIELDS if said.get(name))
    names = {"comment": ("comment",), "thread": ("ask-back", "answer-back")}.get(kind, ())
    return next((str(said[name]) for name in names if said.get(name)), None)


def _is_ask(node: RunStep) -> bool:
    """Whether a step is an `ask`, whose result is the decision on the request inside it."""
    return node.kind == "step" and any(child.kind == "person" for child in node.children)
