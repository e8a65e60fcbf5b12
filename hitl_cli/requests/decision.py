"""`Decision`: the outcome of a settled request, as a workflow gets it (docs/reference/wire.md).

No I/O and no SDK: `ask` uses it in a workflow, and `hitl ask` in a script.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import (
    EXPIRED_HEADER,
    Audit,
    Json,
    Vote,
    audit_in,
    encode,
    error_value,
    expired_at,
)
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadInput, NotCovered
from hitl_cli.format.times import instant
from hitl_cli.requests.editable import answer_form, approved_arguments, is_as_asked
from hitl_cli.requests.question import Instead, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.client.wire import AnyPromise
    from hitl_cli.engine.records import PromiseState, Value


NOBODY_ANSWERED = "nobody answered before the deadline"

VIA_DEADLINE = "deadline"
"""The `via` of a decision by a deadline that can be moved, in the audit record."""


class Rejected(Exception):
    """A request was rejected, or expired. Raised by `Decision.require`."""

    # The SDK stores an exception by the path of its class, so this path must not change.
    __module__ = "hitl_cli"


class Decision[T](Struct, frozen=True, kw_only=True, dict=True):
    """The outcome of a request: what `await ask(...)` returns.

    - `id`: the id of the request.
    - `approved`: whether it was approved.
    - `choice`: the chosen choice, if the request has choices.
    - `data`: the data of the approval; if the form is a type, an instance of it. None for a rejection.
    - `by`, `via`, `at`: who decided, through which front end, and when (UTC).
    - `comment`, `reason`: texts of the person; only a rejection has a `reason`.
    - `expired`: whether the deadline decided. Then `on_deadline` gave the outcome, and `by` is None.
    - `votes`: the votes that counted, if several people had to approve.
    - `arguments`, `arguments_digest`: the approved arguments, and the SHA-256 of their canonical JSON, if the
      request has arguments. `changed`: whether the person changed them (`editable`).
    - `valid_until`: when the approval expires, if the request has `valid_for`.
    - `once`: whether the approval may be used only once, by `consume`.
    - `question`: the content of the request. It is left out when the decision is stored as JSON.

        decision = await ask(ctx, "Refund?", form=Refund, deadline="2d")
        if decision.approved:
            await ctx.run(pay, decision.data.amount)
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
    arguments: Json = None
    arguments_digest: str | None = None
    changed: bool = False
    valid_until: datetime | None = None
    once: bool = False

    @property
    def question(self) -> Question | None:
        """The content of the request; None for a decision that was read from JSON."""
        return self.__dict__.get("question")

    def require(self) -> Decision[T]:
        """Return this decision if it is an approval. Raises Rejected with who rejected it, and why.

        decision = (await ask(ctx, "Deploy?")).require()
        """
        if self.approved:
            return self
        if self.expired:
            raise Rejected(f"{self.id} was not answered before its deadline")
        raise Rejected(f"{self.id} was rejected by {self.by or 'another tool'}: {self.reason}")

    def covers(self, arguments: Any, *, now: datetime | None = None) -> Decision[T]:
        """Return this decision if it approves exactly these arguments, and has not expired.

            command = {"argv": ["rm", "-r", "build"], "cwd": "/srv"}
            decision = await ask(ctx, "Remove the build?", arguments=command, valid_for="10m")
            await ctx.run(remove, decision, command)  # remove calls decision.covers(command) before it acts

        Call it in the code that acts, with the arguments that it is about to use. Two values are equal if
        their canonical JSON (RFC 8785) is. `now` is an instant with a time zone, by default the present. In a
        workflow, call `covers` in a step, because a replay happens at a later time.

        Raises Rejected if it is not an approval; NotCovered for other arguments (`not-covered`), or after
        `valid_until` (`approval-expired`).
        """
        self.require()
        digest = _digest_of(arguments)
        if digest != self.arguments_digest:
            raise NotCovered(
                f"{self.id} approves something else: the digest of its arguments is"
                f" {self.arguments_digest or 'none'}, not {digest}."
            )
        if self.valid_until is not None and (now or instant(now_ms())) > self.valid_until:
            raise approval_expired(self)
        return self

    def consume(self, place: Any = None, *, key: str | None = None) -> Any:
        """Use up this approval of a request with `once`, and return the decision.

            decision = hitl.ask("Refund order 7?", id="refund-7", once=True)
            decision.consume()  # AsyncHitl: await decision.consume()
            refund(7)

        In a workflow, write `await decision.consume(ctx)` before the step that acts. It is a step of its own,
        so a replay of the run is the same use. In other programs, `place` is the `Hitl` to use; by default,
        the one that the decision came from. Calls with the same `key` are the same use, for example when a
        script is started again.

        Raises Rejected if it is not an approval; NotCovered if the approval was used before, with who and
        when (`approval-used`), or after `valid_until` (`approval-expired`); BadInput without `once`.
        """
        from hitl_cli.requests.use import consume_at

        return consume_at(self.__dict__.get("place") if place is None else place, self, key)


def approval_expired(decision: Decision[Any]) -> NotCovered:
    """Return the error for an approval that is used after it expired."""
    until = decision.valid_until.isoformat() if decision.valid_until is not None else ""
    return NotCovered(
        f"the approval of {decision.id} was valid until {until}. Ask again.", code="approval-expired"
    )


def with_place[T](decision: Decision[T], place: Any) -> Decision[T]:
    """Set the place where a decision can be used up, and return the decision."""
    decision.__dict__["place"] = place
    return decision


def with_question[T](decision: Decision[T], question: Question | None) -> Decision[T]:
    """Set the question of a decision, and return the decision."""
    decision.__dict__["question"] = question
    return decision


class KeptDecision(Decision[Json], frozen=True, kw_only=True, omit_defaults=False):
    """A decision as the step of `ask` stores it, with the question. Version 0.1 stored no question."""

    answers: Question | None = None

    def told(self, data: Any) -> Decision[Any]:
        """Return the decision for the workflow, with `data` of the form's type."""
        fields = msgspec.structs.asdict(self)
        del fields["answers"]
        decision: Decision[Any] = Decision(**fields | {"data": data})
        return with_question(decision, self.answers)


def decision_on(
    request: AnyPromise, question: Question, data: Json, headers: Mapping[str, str] | None
) -> Decision[Json]:
    """Return the decision on a request; `data` and `headers` are those of the value that settled it.

    Raises BadInput if the data is not a valid answer to the question.
    """
    ended = expired_at(request.state, request.timeout_at, headers or {})
    if ended is not None:
        return decision_by_deadline(request.id, question, ended)
    audit = audit_in(headers or {})
    at = instant(audit.at or request.settled_at or request.created_at)
    approved = request.state == "resolved"
    reason = None
    choice = audit.choice or (data if data in question.choices else None)
    if approved:
        data = data if question.editable is None else approved_arguments(question, data)
        check_answer(request.id, question, choice, data)
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
        at=at,
        comment=audit.comment,
        reason=reason,
        votes=audit.votes,
        **approval_of(question, at, data) if approved else {},
    )


def check_answer(id: str, question: Question, choice: str | None, data: Json) -> None:
    """Raise BadInput for an approval, made by another tool, that is not a valid answer."""
    if question.choices and choice not in question.choices:
        raise BadInput(f"{id} was answered by another tool with none of its choices.", code="unreadable")
    form = None if is_as_asked(question, data) else answer_form(question)
    if form is not None:
        from hitl_cli.forms import check

        try:
            check(form, data)
        except BadInput as error:
            raise BadInput(
                f"{id} was answered by another tool, and {error}", error.lines, code="unreadable"
            ) from error


def settled_by_deadline(id: str, question: Question, at: int) -> tuple[PromiseState, Value]:
    """Return the state and the value with which a movable deadline settles a request."""
    meant = decision_by_deadline(id, question, at)
    headers = Audit(via=VIA_DEADLINE, at=at).headers() | {EXPIRED_HEADER: str(at)}
    if meant.approved:
        return "resolved", encode(meant.choice if meant.data is None else meant.data, headers)
    return "rejected", error_value(NOBODY_ANSWERED, headers)


def decision_by_deadline(id: str, question: Question, at_ms: int) -> Decision[Json]:
    """Return the decision that the deadline makes, at an instant in ms since the epoch."""
    approved, data, choice = False, None, None
    match question.on_deadline:
        case "approve":
            approved, data = True, None if question.form is not None else True
        case Instead(value=value):
            approved = True
            choice = value if value in question.choices else None
            data = None if choice is not None and question.form is not None else value
    if approved and question.editable is not None:
        data = approved_arguments(question, data)
    at = instant(at_ms)
    reason = None if approved else NOBODY_ANSWERED
    decided = approval_of(question, at, data) if approved else {}
    return Decision(
        id=id,
        approved=approved,
        choice=choice,
        data=data,
        at=at,
        reason=reason,
        expired=True,
        **decided,
    )


def approval_of(question: Question, at: datetime, data: Json) -> dict[str, Any]:
    """Return the fields of a Decision about the approved arguments and their validity."""
    fields: dict[str, Any] = {}
    if question.arguments is not None:  # the digest in the request may come from another tool
        arguments = approved_arguments(question, data)
        fields |= {"arguments": arguments, "arguments_digest": _digest_of(arguments)}
        fields["changed"] = fields["arguments_digest"] != _digest_of(question.arguments)
    if question.valid_for is not None:
        fields["valid_until"] = at + timedelta(milliseconds=question.valid_for)
    return fields | ({"once": True} if question.once else {})


def _digest_of(arguments: Any) -> str:
    """Return the digest of arguments. Raises NotCovered if they have none: they cannot have been approved."""
    from hitl_cli.format.canonical_json import check_finite, json_digest

    try:
        check_finite(arguments)
        return json_digest(msgspec.json.decode(msgspec.json.encode(arguments)))
    except (ValueError, TypeError, RecursionError) as error:
        raise NotCovered(f"these arguments cannot be written as canonical JSON: {error}.") from error
