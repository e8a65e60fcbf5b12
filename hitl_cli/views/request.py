"""A request with all details as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Json, Promise, SignatureKind, decode
from hitl_cli.format.times import iso
from hitl_cli.format.urls import host_of
from hitl_cli.people.contacts import Directory, without_contact
from hitl_cli.proof.checking import ProofState
from hitl_cli.requests.amendments import AmendmentKind
from hitl_cli.requests.editable import Change
from hitl_cli.requests.private import CALLBACK
from hitl_cli.requests.question import Outcome, ProofKind, Question, Reassign, fields_of
from hitl_cli.views.details import notified
from hitl_cli.views.document import document_of
from hitl_cli.views.pending import (
    RequestBaseDocument,
    ThreadEntryDocument,
    request_summary_document,
    thread_entry_document,
)
from hitl_cli.views.runs import StepDocument, step_document
from hitl_cli.views.votes import VoteDocument, vote_document

if TYPE_CHECKING:
    from hitl_cli.forms import Field
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.inbox.history import HistoryEntry
    from hitl_cli.notify.status import NotificationStatus

NO_CONTACTS = Directory()

INNER = ("keys", "needed", "pointers", "item", "row")
"""Internal attributes of a form's field, which are not shown."""


class EscalationDocument(Struct, frozen=True, kw_only=True):
    """A later escalation: its assignees, and when."""

    at: str
    to: tuple[str, ...]


class AmendmentDocument(Struct, frozen=True, kw_only=True):
    """A change of a request after it was asked, by whom, and when.

    `to` are the assignees after an `assign`; `until` is the end of a `claim`, or the deadline after an
    `extend`; `of` is the person whose claim was ended by another person's `release`.
    """

    kind: AmendmentKind
    by: str
    via: str | None
    at: str
    to: tuple[str, ...]
    until: str | None
    of: str | None = None


class CommentDocument(Struct, frozen=True, kw_only=True):
    """A comment."""

    by: str | None
    via: str | None
    at: str
    text: str


class DeliveryAttemptDocument(Struct, frozen=True, kw_only=True):
    """An attempt to notify someone, and its result."""

    at: str
    outcome: str
    channel: str | None
    why: str | None
    receipt: str | None


class NotificationDocument(Struct, frozen=True, kw_only=True):
    """A notification to one recipient: the last attempt, and when the next one is."""

    who: str | None
    occasion: str
    since: str
    outcome: str
    at: str | None
    channel: str | None
    why: str | None
    receipt: str | None
    digest: bool
    next_at: str | None
    tries: list[DeliveryAttemptDocument]


class ProofDocument(Struct, frozen=True, kw_only=True):
    """The result of checking one person's decision; `key` is the fingerprint of the key that signed.

    `kind` is the kind of the signature.
    """

    by: str | None
    state: ProofState
    kind: SignatureKind | None = None
    key: str | None
    why: str | None


class DecisionDocument(Struct, frozen=True, kw_only=True):
    """The outcome of a request; `deadline`: the deadline decided; `rule`: the standing rule that decided.

    `changes` are the changes of the approval to the arguments, `proof` the results of checking the
    signatures, and `unproven` the reason why an approval does not count, if the request needs proof.
    """

    outcome: Outcome | None
    by: str | None
    via: str | None
    at: str
    waited_s: int
    deadline: bool
    choice: str | None
    data: Json
    reason: str | None
    comment: str | None
    deputy_for: tuple[str, ...] = ()
    rule: str | None = None
    changes: tuple[Change, ...] = ()
    proof: tuple[ProofDocument, ...] = ()
    unproven: str | None = None


class StoredDocument(Struct, frozen=True, kw_only=True):
    """A decided request as the server stores it, and the run that asks, so that its proof can be checked."""

    promise: Promise
    run: Promise | None


class UseDocument(Struct, frozen=True, kw_only=True):
    """The use of an approval: by whom, through which front end, and when."""

    by: str | None
    via: str | None
    at: str


class RequestDetailsDocument(RequestBaseDocument, frozen=True, kw_only=True):
    """A request. `title` is the first line of `prompt`; `fields` are the fields of `form` or `editable`.

    `arguments` is what will be done after an approval, `arguments_digest` the SHA-256 of its canonical JSON,
    `editable` the JSON Schema of the arguments that may be approved instead, and `valid_for_s` how long the
    approval may be used; with `once`, it may be used only once (`used`). `proof` is the required proof,
    `policy` the patterns of the settings that demand more. `reassign` says who may assign it to others,
    `extend_s` how much longer its deadline can be moved in all, and `amendments` are the changes since it was
    asked. `offer` is a standing rule that may be made with an approval. `replaces` and `replaced_by` are
    requests of the same run, if its code changed or an answer could not be used. `thread` has the questions
    asked back and their answers. `callback` is the host that gets the decision. `param` is the data of a
    promise that is not a valid request. `stored` is present only if requested, for a decided request.
    `private` are the parts that only the assignees see, `hidden` whether they are left out here.
    """

    title: str | None
    readable: bool
    param: Json
    details: Json
    arguments: Json
    arguments_digest: str | None
    editable: dict[str, Any] | bool | None = None
    valid_for_s: float | None
    once: bool = False
    used: UseDocument | None = None
    proof: ProofKind | None = None
    policy: tuple[str, ...] = ()
    reassign: Reassign | None = None
    extend_s: float | None = None
    amendments: tuple[AmendmentDocument, ...] = ()
    offer: dict[str, Any] | None = None
    form: dict[str, Any] | bool | None
    fields: list[dict[str, Any]]
    allow_self: bool
    on_deadline: Json
    escalate: list[EscalationDocument]
    link: str | None
    digest: dict[str, str] | None
    callback: str | None
    replaced_by: str | None
    votes_cast: list[VoteDocument]
    comments: list[CommentDocument]
    thread: tuple[ThreadEntryDocument, ...] = ()
    told: list[NotificationDocument]
    without_contact: tuple[str, ...]
    before: list[StepDocument]
    unknown_names: tuple[str, ...]
    decision: DecisionDocument | None
    stored: StoredDocument | None = None
    private: tuple[str, ...] = ()
    hidden: bool = False


def request_details_document(
    seen: RequestDetails, directory: Directory = NO_CONTACTS
) -> RequestDetailsDocument:
    """Return a request with all details, and the assignees without a contact."""
    item, question = seen.item, seen.item.question
    known = {} if question is None else msgspec.to_builtins(question)
    listed = msgspec.structs.asdict(request_summary_document(item, item.now))
    return document_of(
        RequestDetailsDocument,
        item.asked,
        **listed
        | {
            "state": seen.promise.state,
            "title": item.prompt,
            "prompt": known.get("prompt"),
            "readable": question is not None,
            "param": None if known else decode(seen.promise.param),
            "valid_for_s": None if item.asked.valid_for is None else item.asked.valid_for / 1_000,
            "used": None if seen.used is None else document_of(UseDocument, seen.used),
            "extend_s": None if item.asked.extend is None else item.asked.extend / 1_000,
            "amendments": tuple(
                document_of(AmendmentDocument, one) for one in item.amendments if one.kind != "expire"
            ),
            "hidden": item.hidden,
            "private": tuple(path for path in item.asked.private if path != CALLBACK),
            "offer": _offer_document(item.asked),
            "fields": [_field_document(field) for field in fields_of(item.asked)],
            "on_deadline": known.get("onDeadline", "expire"),
            "escalate": [
                EscalationDocument(at=iso(item.created_at + step.after), to=step.to)
                for step in item.asked.escalate
            ],
            "digest": known.get("digest"),
            "callback": None if item.asked.callback is None else host_of(item.asked.callback),
            "replaced_by": seen.replaced_by,
            "unknown_names": seen.unknown,
            "votes_cast": [vote_document(vote) for vote in seen.votes],
            "comments": [document_of(CommentDocument, one) for one in seen.comments],
            "thread": tuple(map(thread_entry_document, seen.thread)),
            "without_contact": () if seen.decision else _silent(seen, directory),
            "told": [_notification_document(one) for one in notified(seen)],
            "before": [step_document(node) for node in seen.before],
            "decision": None if seen.decision is None else _decision_document(seen, seen.decision),
        },
    )


def stored_document(seen: RequestDetails, *, by_asker: bool) -> StoredDocument | None:
    """Return a decided request as stored; None for an open one.

    It is also None for a request with a callback, except for its asker, because the URL is only for the
    asker; and for one with hidden parts, because the rest would not match its proof.
    """
    promise, run = seen.promise, seen.item.run
    withheld = seen.item.hidden or (seen.item.asked.callback is not None and not by_asker)
    if promise.state == "pending" or withheld:
        return None
    return StoredDocument(
        promise=promise, run=None if run is None else msgspec.structs.replace(run, value=None)
    )


def _offer_document(question: Question) -> dict[str, Any] | None:
    """Return the rule that may be made with an approval."""
    offer = question.offer
    return None if offer is None else {"where": offer.where, "longest_s": offer.longest / 1_000}


def _silent(seen: RequestDetails, directory: Directory) -> tuple[str, ...]:
    """Return the assignees without a contact; without members of groups that the reader may not see."""
    silent = without_contact(seen.item.to, directory) if seen.silent is None else seen.silent
    return tuple(who for who in silent if who in seen.item.to) if seen.limited else silent


def _notification_document(told: NotificationStatus) -> NotificationDocument:
    """Return a notification to one recipient."""
    last = told.last
    return document_of(
        NotificationDocument,
        told,
        outcome=told.standing,
        at=None if last is None else iso(last.at),
        channel=None if last is None else last.channel,
        why=None if last is None else last.why,
        receipt=None if last is None else last.receipt,
        digest=last is not None and last.digest,
        tries=[document_of(DeliveryAttemptDocument, tried) for tried in told.tries],
    )


def _decision_document(seen: RequestDetails, made: HistoryEntry) -> DecisionDocument:
    """Return the outcome of a request."""
    proof = tuple(document_of(ProofDocument, one) for one in seen.proof)
    waited_s = made.waited_ms // 1_000
    return document_of(DecisionDocument, made, waited_s=waited_s, proof=proof, unproven=seen.unproven)


def _field_document(field: Field) -> dict[str, Any]:
    """Return a field of a form."""
    shown = msgspec.to_builtins(field)
    known = {name: value for name, value in shown.items() if name not in INNER}
    if field.row is None:
        return known
    from hitl_cli.forms.fields import flat

    return known | {"columns": [_field_document(one) for one in flat(field.row)]}
