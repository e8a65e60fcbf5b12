"""How a person answers: what is checked, what is settled, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.protocol import as_promise, get_promise
from hitl_cli.client.wire import (
    Audit,
    Json,
    Promise,
    Verdict,
    Vote,
    audit_of,
    decode,
    error_message,
    fresh_id,
    same_json,
)
from hitl_cli.errors import BadAnswer, BadInput, BadName, Conflict, NotAllowed, TimedOut, TooLarge
from hitl_cli.format.durations import format_age
from hitl_cli.format.times import iso
from hitl_cli.inbox.comments import check_comment
from hitl_cli.inbox.pending import summary_of
from hitl_cli.inbox.resolve import find
from hitl_cli.inbox.votes import (
    NO_REASON,
    Tally,
    complete,
    electorate,
    record_vote,
    same_vote,
    settle_request,
    standing,
    tally,
    votes_of,
)
from hitl_cli.people.groups import NO_GROUPS, group_named, is_among
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.pending import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question

MAX_ANSWER_BYTES = 1_000_000
"""The most data that an answer may carry, as JSON. A decision is not a place to keep files."""

MAX_DEPTH = 100
"""How deep data may be nested: what decodes JSON gives up somewhere above a thousand."""

LONGEST_NAME = 200

YES = ("yes", "y", "approve", "true")
NO = ("no", "n", "reject", "false")

DECODED_KEYS = ("__type", "__py_pickle")
DECODED_TEXTS = ("__INF__", "__NEG_INF__")
"""What the SDKs read as more than JSON: errors, pickled objects, numbers (codec.py, codec.js)."""


class DecisionInput(Struct, frozen=True, kw_only=True):
    """What a person answers: the verdict, what goes with it, and the record of who, how and why.

    The data is given as it is, or by the fields of the form (`fields`: name and text). `text` is an answer
    in one word: a choice, or what a form of one field asks for, or yes or no.
    """

    verdict: Verdict
    by: str
    via: str
    data: Json | UnsetType = UNSET
    fields: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    reason: str | None = None
    comment: str | None = None


class DecisionResult(Struct, frozen=True, kw_only=True):
    """A promise that has been answered.

    `fresh` tells whether it was this very answer that settled it. `votes` is how it stands where several
    must approve: while too few have, the promise is still pending.
    """

    promise: Promise
    workflow: str
    verdict: Verdict
    audit: Audit
    data: Json
    reason: str | None
    fresh: bool
    votes: Tally | None = None
    approvals: int = 1

    @property
    def settled(self) -> bool:
        """Whether that was the end of it."""
        return self.promise.state != "pending"


def approval(
    *,
    by: str,
    via: str,
    data: Json | UnsetType = UNSET,
    fields: Sequence[tuple[str, str]] = (),
    text: str | None = None,
    comment: str | None = None,
) -> DecisionInput:
    """Return an approval; `data` is what the workflow gets. Raises BadInput for what cannot be kept."""
    if data is not UNSET and fields:
        raise BadAnswer("the data is given as a whole or by its fields, not both.")
    if data is not UNSET:
        check_data(data)
    return DecisionInput(
        verdict="approve",
        data=data,
        fields=tuple(fields),
        text=text,
        by=check_person(by),
        via=via,
        comment=check_comment(comment),
    )


def rejection(*, by: str, via: str, reason: str | None = None, comment: str | None = None) -> DecisionInput:
    """Return a rejection; the workflow sees an error with the reason. Raises BadInput if it is too big."""
    if reason is not None and len(reason.encode()) > MAX_ANSWER_BYTES:
        raise TooLarge(f"the reason is too long; an answer may carry {MAX_ANSWER_BYTES:,} bytes.")
    return DecisionInput(
        verdict="reject",
        reason=reason or NO_REASON,
        by=check_person(by),
        via=via,
        comment=check_comment(comment),
    )


def check_data(data: Json) -> None:
    """Raise BadInput for data that is too big, or in which an SDK would see more than JSON at any depth."""
    try:
        size = len(msgspec.json.encode(data))
    except RecursionError as error:
        raise BadAnswer("the data is nested too deep, which no workflow could read.") from error
    if size > MAX_ANSWER_BYTES:
        raise TooLarge(f"the data is {size:,} bytes of JSON; an answer may carry {MAX_ANSWER_BYTES:,}.")
    rest = [(data, 1)]
    while rest:
        value, depth = rest.pop()
        if depth > MAX_DEPTH:
            raise BadAnswer(f"the data is nested more than {MAX_DEPTH} deep, which no workflow could read.")
        if isinstance(value, dict):
            for key in DECODED_KEYS:
                if key in value:
                    raise BadAnswer(f"the data has a field {key!r}, which means something else to the SDKs.")
            rest.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            rest.extend((inner, depth + 1) for inner in value)
        elif value in DECODED_TEXTS:
            raise BadAnswer(f"the data has the text {value!r}, which means something else to the SDKs.")


def check_person(name: str) -> str:
    """Return the name of who acts, if it is one that can stand on a decision. Raises BadInput."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise BadName(f"{name!r} cannot be the name of a person: it is not text in UTF-8.") from error
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadName(
            f"{name[:LONGEST_NAME]!r} cannot be the name of a person: it must have characters, at most"
            f" {LONGEST_NAME}."
        )
    if name.startswith(GROUP):
        raise BadName(f"{name!r} is the name of a group, not of a person.")
    return name


def decide(
    client: Client,
    name: str,
    answer: DecisionInput,
    groups: Groups = NO_GROUPS,
    new_id: Callable[[], str] = fresh_id,
) -> DecisionResult:
    """Answer what a name means (hitl_cli/inbox/resolve.py): settle it, or where several must approve, vote.

    Of several answers exactly one is recorded; giving that one again is no error. Raises NotFound, BadInput
    (it could mean several; the answer does not fit), NotAllowed (it is for others), Conflict (decided
    otherwise), TimedOut (the deadline had passed). In all these cases nothing is changed.
    """
    return decide_promise(client, find(client, name), answer, groups, new_id)


def decide_promise(
    client: Client,
    promise: Promise,
    answer: DecisionInput,
    groups: Groups = NO_GROUPS,
    new_id: Callable[[], str] = fresh_id,
) -> DecisionResult:
    """Answer a promise that waits for a person, as `decide` does."""
    audit = Audit(id=new_id(), by=answer.by, via=answer.via, at=client.now(), comment=answer.comment)
    item = summary_of(client, promise, get_promise(client, promise.origin))
    vote = vote_of(answer, item.asked, audit.at or 0)
    if promise.state != "pending":
        return outcome(promise, vote, audit, item.now)
    check(item, vote, groups)
    if item.asked.approvals > 1:
        return _decide_together(client, item, vote, audit, groups)
    settled = as_promise(client.call_many([settle_request(promise, vote, audit)])[0])
    return outcome(settled, vote, audit, client.now())


def _decide_together(
    client: Client, item: RequestSummary, vote: Vote, audit: Audit, groups: Groups
) -> DecisionResult:
    """Vote on a request that several must approve, and settle it if that decides it."""
    promise, question = item.promise, item.asked
    ballots = votes_of(client, promise.id)
    tallied = tally(question, electorate(question, item.starter, groups), ballots)
    if tallied.deciding is None:
        record_vote(client, promise, vote, audit, ballots)
        tallied = standing(client, promise, question, item.starter, groups)
    now = get_promise(client, promise.id) or promise
    if tallied.deciding is not None and now.state == "pending":
        now = complete(client, promise, tallied)
    if now.state != "pending":
        return outcome(now, vote, audit, client.now())
    return DecisionResult(
        promise=now,
        workflow=now.origin,
        verdict=vote.verdict,
        audit=msgspec.structs.replace(audit, choice=vote.choice),
        data=vote.data,
        reason=vote.reason,
        fresh=any(ballot.audit.id == audit.id for ballot in tallied.counted),
        votes=tallied,
        approvals=question.approvals,
    )


def vote_of(answer: DecisionInput, question: Question, at: int) -> Vote:
    """Return what an answer says to a question. Raises BadInput for one that says nothing to it."""
    verdict, reason, choice, data = answer.verdict, answer.reason, None, answer.data
    if answer.fields:
        data = _filled(question, answer.fields)
    if answer.text is not None and question.choices:
        choice = answer.text
    elif answer.text is not None and question.form is not None:
        data = _filled(question, [("", answer.text)])
    elif answer.text is not None:
        verdict = _yes_or_no(answer.text)
        reason = NO_REASON if verdict == "reject" else None
    elif data in question.choices:
        choice = data
    if data is UNSET and verdict == "approve":
        data = _filled(question, []) if question.form is not None else True if choice is None else choice
    return Vote(
        by=answer.by,
        verdict=verdict,
        at=at,
        choice=choice,
        data=data if verdict == "approve" else None,
        reason=reason,
        comment=answer.comment,
    )


def _filled(question: Question, fields: Sequence[tuple[str, str]]) -> Json:
    """Return the data that is given by the fields of a form. Raises BadInput."""
    if question.form is None:
        raise BadAnswer(
            "it asks for no fields: give --data if there is something to say. Nothing was changed."
        )
    from hitl_cli.forms import fill

    data = fill(question.form, fields)
    check_data(data)
    return data


def _yes_or_no(text: str) -> Verdict:
    """Return what a word means. Raises BadInput."""
    if text.strip().lower() in YES:
        return "approve"
    if text.strip().lower() in NO:
        return "reject"
    raise BadAnswer(f"it asks for a yes or a no, and {text!r} is neither. Nothing was changed.")


def check(item: RequestSummary, vote: Vote, groups: Groups) -> None:
    """Raise BadInput for a vote that does not fit what is asked, NotAllowed for one of somebody else."""
    if item.question is None:
        raise BadInput(
            f"the request {item.id} cannot be read, so nobody can tell what an answer to it means."
            " Nothing was changed.",
            code="unreadable",
        )
    check_allowed(item, vote.by, groups)
    if vote.verdict == "approve":
        _check_fits(item, vote)


def check_allowed(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise NotAllowed if it is not for this person to answer."""
    if item.to and not is_among(person, item.to, groups):
        unknown = [name for name in item.to if name.startswith(GROUP) and group_named(name, groups) is None]
        hint = f" Your settings do not know {', '.join(unknown)}." if unknown else ""
        raise NotAllowed(
            f"{item.id} is for {' or '.join(item.to)} to answer, not for {person}.{hint}"
            " Nothing was changed.",
            code="not-assignee",
        )
    if not item.asked.allow_self and person == item.starter:
        raise NotAllowed(
            f"{item.id} is for somebody else to answer than {person}, who started it. Nothing was changed.",
            code="self-approval",
        )


def _check_fits(item: RequestSummary, vote: Vote) -> None:
    """Raise BadInput for an approval that does not fit the choices or the form."""
    question = item.asked
    if question.choices and vote.choice not in question.choices:
        known = " or ".join(map(repr, question.choices))
        raise BadAnswer(
            f"{item.id} asks for a choice: `hitl answer {item.id} CHOICE` with {known}. Nothing was changed."
        )
    if question.form is not None:
        from hitl_cli.forms import check as check_form

        check_form(question.form, vote.data)


def outcome(settled: Promise, vote: Vote, audit: Audit, now: int) -> DecisionResult:
    """Return what came of a vote, now that the promise is settled by it or by an earlier one."""
    recorded = audit_of(settled)
    data = decode(settled.value)
    fresh = recorded.id == audit.id
    if vote.verdict == "approve":
        same = settled.state == "resolved" and same_json(data, vote.data) and recorded.choice == vote.choice
    else:
        same = settled.state == "rejected"
    counted = settled.state == "resolved" and any(
        other.by == vote.by and same_vote(other, vote) for other in recorded.votes
    )
    if not (fresh or same or counted):
        raise already(settled, now)
    return DecisionResult(
        promise=settled,
        workflow=settled.origin,
        verdict=vote.verdict,
        audit=recorded,
        data=data if vote.verdict == "approve" else None,
        reason=error_message(settled.value) if vote.verdict == "reject" else None,
        fresh=fresh,
    )


def already(settled: Promise, now: int) -> Conflict | TimedOut:
    """Return the error that says how a promise was settled before."""
    if settled.state == "rejected_timedout":
        return TimedOut(
            f"{settled.id} can no longer be answered: its deadline passed {iso(settled.timeout_at)}."
        )
    if settled.state == "rejected_canceled":
        return Conflict(
            f"{settled.id} was canceled{by_whom(settled, now)}. Nothing was changed.", code="already-decided"
        )
    if settled.state == "rejected":
        how = f"{by_whom(settled, now)}: {error_message(settled.value)}"
        return Conflict(
            f"{settled.id} was already rejected{how}. Nothing was changed.", code="already-decided"
        )
    data = msgspec.json.encode(decode(settled.value)).decode()
    return Conflict(
        f"{settled.id} was already approved{by_whom(settled, now)} with {data}. Nothing was changed.",
        code="already-decided",
    )


def by_whom(settled: Promise, now: int) -> str:
    """Return ` by reviewer through cli 5m ago (2026-…Z)`, as far as it is known."""
    audit = audit_of(settled)
    at = audit.at or settled.settled_at or now
    who = f" by {audit.by} through {audit.via}" if audit.by else " by another tool"
    return f"{who} {format_age(now - at)} ago ({iso(at)})"
