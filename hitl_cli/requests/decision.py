"""What was decided: from a settled request to what whoever asked is told of it (docs/reference/wire.md).

Pure, and without the SDK: for `ask` in a workflow and for `hitl ask` in a script.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from hitl_cli.client.wire import Json, Vote, audit_in
from hitl_cli.errors import BadInput
from hitl_cli.format.times import instant
from hitl_cli.requests.question import Instead, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.engine.records import PromiseState


class Rejected(Exception):
    """A person said no, or nobody said yes in time."""

    # The SDK stores an exception by the path of its class, so it has to be one that stays.
    __module__ = "hitl_cli"


class Decision[T](Struct, frozen=True, kw_only=True, dict=True):
    """What came of a question. `data` is the answer, of the type of the form; `at` is in UTC.

    `expired` says that nobody answered before the deadline: then `approved`, `choice` and `data` are what
    that was to mean, and `by` is None. `votes` are those who said so, where several had to. `question` is
    what was answered; it is no part of the decision as JSON.
    """

    id: str
    approved: bool
    choice: str | None = None
    data: T
    by: str | None = None
    via: str | None = None
    at: datetime
    comment: str | None = None
    reason: str | None = None
    expired: bool = False
    votes: tuple[Vote, ...] = ()

    @property
    def question(self) -> Question | None:
        """What was answered; None for a decision that was read from JSON."""
        return self.__dict__.get("question")

    def require(self) -> Decision[T]:
        """Return the decision if it is a yes. Raises Rejected with who said no, and why."""
        if self.approved:
            return self
        if self.expired:
            raise Rejected(f"{self.id} was not answered before its deadline")
        raise Rejected(f"{self.id} was rejected by {self.by or 'another tool'}: {self.reason}")


class KeptDecision(Decision[Json], frozen=True, kw_only=True, omit_defaults=False):
    """A decision as the step of `ask` keeps it: with the question. Version 0.1 kept none."""

    answers: Question | None = None

    def told(self, data: Any) -> Decision[Any]:
        """Return the decision as the workflow is told it, with data of the type of its form."""
        fields = {name: getattr(self, name) for name in Decision.__struct_fields__}
        decision: Decision[Any] = Decision(**fields | {"data": data})
        decision.__dict__["question"] = self.answers
        return decision


class _Settled(Protocol):
    """A promise that is settled, ours or the SDK's. Instants are ms since the epoch."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> PromiseState: ...
    @property
    def timeout_at(self) -> int: ...
    @property
    def created_at(self) -> int: ...
    @property
    def settled_at(self) -> int | None: ...


def decision_on(
    request: _Settled, question: Question, data: Json, headers: Mapping[str, str] | None
) -> Decision[Json]:
    """Return what came of a question; `data` and `headers` are of the value that settled it.

    Raises BadInput if the answer is not one to it.
    """
    if request.state == "rejected_timedout":
        return decision_by_deadline(request, question)
    audit = audit_in(headers or {})
    approved = request.state == "resolved"
    reason = None
    choice = audit.choice or (data if data in question.choices else None)
    if approved:
        _check_answer(request.id, question, choice, data)
    else:
        said = data.get("message") if isinstance(data, dict) else None
        reason = str(said or ("canceled" if request.state == "rejected_canceled" else "rejected"))
    return Decision(
        id=request.id,
        approved=approved,
        choice=choice,
        data=data if approved else None,
        by=audit.by,
        via=audit.via,
        at=instant(audit.at or request.settled_at or request.created_at),
        comment=audit.comment,
        reason=reason,
        votes=audit.votes,
    )


def _check_answer(id: str, question: Question, choice: str | None, data: Json) -> None:
    """Raise BadInput if it was approved, past our own checks, with what is no answer to the question."""
    if question.choices and choice not in question.choices:
        raise BadInput(f"{id} was answered with none of its choices, by another tool.", code="unreadable")
    if question.form is not None:
        from hitl_cli.forms import check

        try:
            check(question.form, data)
        except BadInput as error:
            raise BadInput(
                f"{id} was answered by another tool, and {error}", error.lines, code="unreadable"
            ) from error


def decision_by_deadline(request: _Settled, question: Question) -> Decision[Json]:
    """Return what it means that nobody answered."""
    approved, data, choice = False, None, None
    match question.on_deadline:
        case "approve":
            approved, data = True, None if question.form is not None else True
        case Instead(value=value):
            approved = True
            choice = value if value in question.choices else None
            data = None if choice is not None and question.form is not None else value
    at = instant(request.timeout_at)
    reason = None if approved else "nobody answered before the deadline"
    return Decision(
        id=request.id, approved=approved, choice=choice, data=data, at=at, reason=reason, expired=True
    )
