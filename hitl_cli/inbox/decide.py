"""Decisions: checks the answer, settles the request, and returns the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.protocol import ProtocolRequest, ProtocolResponse, as_promise, get_promise
from hitl_cli.client.wire import Audit, Json, Verdict, Vote, audit_of, fresh_id, same_json
from hitl_cli.errors import BadAnswer, BadInput, NotAllowed
from hitl_cli.format.shell import command
from hitl_cli.inbox.amendments import amended, check_unclaimed
from hitl_cli.inbox.decision_log import log_decision
from hitl_cli.inbox.decision_result import DecisionResult, outcome
from hitl_cli.inbox.pending import demanded, with_votes
from hitl_cli.inbox.permission import check_may_answer, deputy_for
from hitl_cli.inbox.rule_offers import accepted
from hitl_cli.inbox.votes import (
    NO_REASON,
    RecordedVote,
    Tally,
    complete,
    count,
    record_vote,
    settle_request,
    votes_of,
)
from hitl_cli.people.groups import Groups
from hitl_cli.proof.statement import statement_of
from hitl_cli.requests.amendments import amendments_of_many
from hitl_cli.requests.decision_input import DecisionInput, check_data
from hitl_cli.requests.editable import answer_form, is_as_asked
from hitl_cli.requests.question import fields_of
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.idempotency import IdempotencyMark
    from hitl_cli.proof.signing import Signer
    from hitl_cli.requests.question import Question

type Said = DecisionInput | Callable[[RequestSummary], DecisionInput]
"""A decision, or a function that makes one for a request, e.g. from its form."""

YES = ("yes", "y", "approve", "true")
NO = ("no", "n", "reject", "false")


class Settling(Struct, frozen=True, kw_only=True):
    """A decision that was checked but not made: the response to `request` says whether it counts.

    `standing` is the rule to make with it, and how long it is valid in ms.
    """

    request: ProtocolRequest
    vote: Vote
    audit: Audit
    groups: Groups
    standing: tuple[NewRule, int] | None = None

    def result(self, answer: ProtocolResponse, now: int) -> DecisionResult:
        """Return the result. Raises Conflict, TimedOut if it was decided otherwise."""
        return log_decision(outcome(as_promise(answer), self.vote, self.audit, now, self.groups))


def decide(
    client: Client,
    actor: Actor,
    item: RequestSummary,
    said: Said,
    *,
    mark: IdempotencyMark | None = None,
    expect: Callable[[RequestSummary], None] | None = None,
    rule: str | None = None,
    signer: Signer | None = None,
) -> DecisionResult:
    """Decide a request, or vote if several must approve. See Inbox.decide.

    `rule` is the id of the rule that decides for the actor.
    """
    begun = begin(client, actor, item, said, mark=mark, expect=expect, rule=rule, signer=signer)
    if isinstance(begun, DecisionResult):
        return begun
    result = begun.result(client.call_many([begun.request])[0], client.now())
    if begun.standing is None or not result.fresh:
        return result
    new, life_ms = begun.standing
    return msgspec.structs.replace(result, made=Rules(client, actor).add(new, life_ms=life_ms))


def begin(
    client: Client,
    actor: Actor,
    item: RequestSummary,
    said: Said,
    *,
    mark: IdempotencyMark | None = None,
    expect: Callable[[RequestSummary], None] | None = None,
    rule: str | None = None,
    signer: Signer | None = None,
) -> DecisionResult | Settling:
    """Check a decision, and return it ready to send; or its result if that is already known."""
    item = demanded(item, actor.groups)
    promise = item.promise
    cast: Sequence[RecordedVote] = ()
    if item.asked.several and (promise.state == "pending" or mark is not None):
        cast = votes_of(client, promise.id)
    settled_before = mark is not None and promise.state != "pending" and mark.made(audit_of(promise).id)
    voted_before = next((vote for vote in cast if mark is not None and mark.made(vote.audit.id)), None)
    if voted_before is not None and not settled_before:
        tallied = count(item, cast, actor.groups)
        return _as_voted(item, voted_before.vote, voted_before.audit, tallied, fresh=True)
    if expect is not None and not settled_before:
        expect(item)
    if promise.state == "pending":
        _check_answerable(item, actor.person, actor.groups)  # before a person fills in a form for nothing
        check_signs(item, signer)
    given = said(item) if callable(said) else said
    id = fresh_id() if mark is None else mark.id
    audit = Audit(id=id, by=actor.person, via=actor.via, at=client.now(), comment=given.comment, rule=rule)
    vote = vote_of(given, actor.person, item.asked, audit.at or 0)
    if instead_of := deputy_for(item, actor.person, actor.groups):
        audit = msgspec.structs.replace(audit, deputy_for=instead_of)
        vote = msgspec.structs.replace(vote, deputy_for=instead_of)
    if promise.state != "pending":
        return outcome(promise, vote, audit, item.now, actor.groups)
    check(item, vote, actor.groups)
    if given.unless_claimed is True:
        known = amendments_of_many(client, [promise.id])[promise.id]
        check_unclaimed(amended(item, known), actor.person, actor.groups)
    audit = _signed(item, vote, audit, signer)
    standing = None if given.for_ is UNSET else accepted(client, item, actor, given.for_, vote.data)
    if item.asked.several:
        return _decide_together(client, item, vote, audit, cast, actor.groups)
    return Settling(
        request=settle_request(promise, vote, audit),
        vote=vote,
        audit=audit,
        groups=actor.groups,
        standing=standing,
    )


def _signed(item: RequestSummary, vote: Vote, audit: Audit, signer: Signer | None) -> Audit:
    """Return the record of a decision with its proof. Raises NotAllowed if the request needs one."""
    check_signs(item, signer, vote.verdict)
    if signer is None or audit.id is None:
        return audit
    proof = signer(statement_of(item.promise, item.run, vote, audit.id, vote.at))
    # A decision that was signed before has an id of its own.
    return msgspec.structs.replace(audit, id=proof.decision, at=proof.at, proof=proof)


def check_signs(item: RequestSummary, signer: Signer | None, verdict: Verdict = "approve") -> None:
    """Raise NotAllowed for a request that needs a kind of proof that the signer cannot give."""
    needed = item.asked.proof
    if needed is not None and (signer is None or (needed == "passkey" and signer.kind != "passkey")):
        raise proof_needed(item, verdict)


def proof_needed(item: RequestSummary, verdict: Verdict = "approve") -> NotAllowed:
    """Return the error for a decision without the required signature. It says how to sign."""
    if item.asked.proof == "passkey":
        how = f"a decision signed by a passkey, on its page: `{command('open', [item.id])}`"
    else:
        how = f"a signed decision: `{command(verdict, [item.id], ['--sign'])}`, or by a passkey on its page"
    return NotAllowed(f"{item.id} needs {how}. Nothing was changed.", code="proof-needed")


def _decide_together(
    client: Client,
    item: RequestSummary,
    vote: Vote,
    audit: Audit,
    cast: Sequence[RecordedVote],
    groups: Groups,
) -> DecisionResult:
    """Vote on a request that several must approve, and settle it if the vote decides it."""
    promise = item.promise
    tallied = count(item, cast, groups)
    if tallied.deciding is None and record_vote(client, promise, vote, audit, cast, groups):
        tallied = count(item, votes_of(client, promise.id), groups)
    if tallied.deciding is not None:
        now = complete(client, promise, tallied)
    else:
        now = get_promise(client, promise.id) or promise
    if now.state != "pending":
        return log_decision(outcome(now, vote, audit, client.now(), groups))
    fresh = any(ballot.audit.id == audit.id for ballot in tallied.counted)
    return log_decision(_as_voted(item, vote, audit, tallied, fresh=fresh))


def _as_voted(
    item: RequestSummary, vote: Vote, audit: Audit, tallied: Tally, *, fresh: bool
) -> DecisionResult:
    """Return the result of a vote that does not decide the request."""
    return DecisionResult(
        promise=item.promise,
        workflow=item.workflow,
        verdict=vote.verdict,
        audit=msgspec.structs.replace(audit, choice=vote.choice),
        data=vote.data,
        reason=vote.reason,
        fresh=fresh,
        votes=tallied,
        approvals=item.asked.approvals,
        so_far=with_votes(item, tallied.leading_by).so_far,
    )


def vote_of(said: DecisionInput, by: str, question: Question, at: int) -> Vote:
    """Return a decision as a vote on a question. Raises BadInput for an answer that does not fit it."""
    verdict: Verdict = said.verdict or "approve"
    reason, data, choice = said.reason or NO_REASON, said.data, said.choice
    if choice is not None and not question.choices:
        raise BadAnswer("this request has no choices. Nothing was changed.")
    if said.answer is not None and question.choices:
        choice = said.answer
    elif said.answer is not None and question.form is not None:
        if len(fields := fields_of(question)) != 1:
            names = ", ".join(field.path for field in fields) or "no fields"
            raise BadAnswer(
                f"one word cannot answer this request, because its form has {names}: approve it with"
                " data for them. Nothing was changed."
            )
        data = filled(question, [("", said.answer)])
    elif said.answer is not None:
        verdict = _yes_or_no(said.answer)
    elif choice is None and data in question.choices:
        choice = data
    if said.arguments is not UNSET:
        data = _with_arguments(question, said.arguments, data)
    if data is UNSET and verdict == "approve" and question.editable is not None:
        data = question.arguments
    if data is UNSET and verdict == "approve":
        data = filled(question, []) if question.form is not None else True if choice is None else choice
    approves = verdict == "approve"
    return Vote(
        by=by,
        verdict=verdict,
        at=at,
        choice=choice,
        data=data if approves else None,
        reason=None if approves else reason,
        comment=said.comment,
    )


def _with_arguments(question: Question, arguments: Json, data: Json | UnsetType) -> Json | UnsetType:
    """Return the data of an approval of these arguments. Raises BadInput if it is for others."""
    if question.editable is not None:
        return arguments
    if question.arguments is None or not same_json(arguments, question.arguments):
        raise BadAnswer("the arguments of this request cannot be changed. Nothing was changed.")
    return data


def filled(question: Question, fields: Sequence[tuple[str, str]]) -> Json:
    """Return the data for fields of a request's form or of its arguments, given as paths and texts.

    Raises BadInput.
    """
    form = answer_form(question)
    if form is None:
        fixed = "" if question.arguments is None else ", and its arguments cannot be changed"
        raise BadAnswer(f"this request has no form{fixed}: give data instead of fields. Nothing was changed.")
    from hitl_cli.forms import fill

    data = fill(form, fields)
    check_data(data)
    return data


def _yes_or_no(text: str) -> Verdict:
    """Return the verdict for a word. Raises BadInput."""
    if text.strip().lower() in YES:
        return "approve"
    if text.strip().lower() in NO:
        return "reject"
    raise BadAnswer(f"answer yes or no: {text!r} is neither. Nothing was changed.")


def check(item: RequestSummary, vote: Vote, groups: Groups) -> None:
    """Raise BadInput for a vote that does not fit the request, NotAllowed if its author may not answer."""
    _check_answerable(item, vote.by, groups)
    if vote.verdict == "approve":
        _check_fits(item, vote)


def _check_answerable(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise BadInput for an invalid request, NotAllowed if the person may not answer it."""
    if item.question is None:
        raise BadInput(
            f"the request {item.id} is not valid, so it cannot be answered. Nothing was changed.",
            code="unreadable",
        )
    check_may_answer(item, person, groups)


def _check_fits(item: RequestSummary, vote: Vote) -> None:
    """Raise BadInput for an approval that does not fit the choices or the form."""
    question = item.asked
    if question.choices and vote.choice not in question.choices:
        known = " or ".join(map(repr, question.choices))
        answer = command("answer", [item.id, "CHOICE"])
        raise BadAnswer(f"{item.id} needs a choice: run `{answer}` with {known}. Nothing was changed.")
    form = None if is_as_asked(question, vote.data) else answer_form(question)
    if form is not None:
        from hitl_cli.forms import check as check_form

        check_form(form, vote.data)


def rehearse(item: RequestSummary, actor: Actor, said: Said, signer: Signer | None = None) -> DecisionInput:
    """Return a decision that could be made now. Raises what `decide` would, and changes nothing.

    `item` has its claim.
    """
    is_open = item.promise.state == "pending"
    if is_open:
        _check_answerable(item, actor.person, actor.groups)
        check_signs(item, signer)
    given = said(item) if callable(said) else said
    vote = vote_of(given, actor.person, item.asked, item.now)
    if is_open:
        check(item, vote, actor.groups)
        if given.unless_claimed is True:
            check_unclaimed(item, actor.person, actor.groups)
    else:
        outcome(item.promise, vote, Audit(id=fresh_id()), item.now, actor.groups)
    return given
