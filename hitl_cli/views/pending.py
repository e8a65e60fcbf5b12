"""Open requests as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.engine.records import PromiseState
from hitl_cli.format.times import iso
from hitl_cli.inbox.thread import ThreadEntry, ThreadKind
from hitl_cli.requests.question import Priority
from hitl_cli.views.amended import claim_fields
from hitl_cli.views.away import AbsenceDocument
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.inbox.request_summary import RequestSummary


class RefusedDocument(Struct, frozen=True, kw_only=True):
    """An answer that could not be used, so that the workflow asked again."""

    why: str
    data: Json
    by: str | None
    at: str


class ThreadEntryDocument(Struct, frozen=True, kw_only=True):
    """A question that an assignee asked back (`ask-back`), or the asker's answer (`answer-back`)."""

    request: str
    number: int
    kind: ThreadKind
    by: str | None
    via: str | None
    at: str
    text: str


class RequestBaseDocument(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The fields of a request that both the list and the details have.

    `refused` is an earlier answer that could not be used; this request then replaces `replaces`. `run` is the
    run's id and `workflow_name` its workflow; `workflow` and `function` are their old names. `votes` of
    `approvals` people have approved; `approvals_by` and `votes_by` are the same by group, if it needs certain
    groups. `claimed_by` is the person who works on it, and `claimed_until` the end of their claim.
    `asked_back` is the open question of an assignee to its asker. `away` are absent assignees.
    """

    id: str
    workflow: str
    function: str | None
    state: PromiseState
    prompt: str | None
    created_at: str
    deadline: str
    age_s: int
    to: tuple[str, ...]
    from_: str | None
    key: str | None
    priority: Priority
    approvals: int
    approvals_by: dict[str, int] = {}
    votes: int
    votes_by: dict[str, int] = {}
    asked_back: ThreadEntryDocument | None = None
    away: tuple[AbsenceDocument, ...] = ()
    choices: tuple[str, ...]
    has_form: bool
    tags: dict[str, str]
    replaces: str | None
    refused: RefusedDocument | None
    run: str
    workflow_name: str | None
    claimed_by: str | None = None
    claimed_until: str | None = None


class RequestSummaryDocument(RequestBaseDocument, frozen=True, kw_only=True):
    """An open request in a list. `prompt` is only the first line."""

    state: Literal["pending"] = "pending"


class RequestsPage(Struct, frozen=True):
    """A page of open requests; `next` is the `cursor` of the next page."""

    items: list[RequestSummaryDocument]
    next: str | None


def request_summary_document(item: RequestSummary, now: int) -> RequestSummaryDocument:
    """Return an open request for a list. `now` is ms since the epoch."""
    memo = {} if item.memo is None else item.memo
    known: RequestSummaryDocument | None = memo.get("document")
    if known is None or known.to != item.to:
        known = memo["document"] = _document(item)
    age_s = max(now - item.created_at, 0) // 1_000
    back = None if item.asked_back is None else thread_entry_document(item.asked_back)
    away = tuple(document_of(AbsenceDocument, one) for one in item.away)
    return msgspec.structs.replace(known, age_s=age_s, asked_back=back, away=away, **claim_fields(item))


def thread_entry_document(entry: ThreadEntry) -> ThreadEntryDocument:
    """Return an entry of a request's thread."""
    return document_of(ThreadEntryDocument, entry)


def _document(item: RequestSummary) -> RequestSummaryDocument:
    """Return an open request for a list, without its age and the fields that depend on the reader."""
    asked = item.asked
    return RequestSummaryDocument(
        id=item.id,
        workflow=item.workflow,
        function=item.function,
        prompt=item.prompt,
        created_at=iso(item.created_at),
        deadline=iso(item.deadline),
        age_s=0,
        to=item.to,
        from_=item.asker,
        key=item.key,
        priority=asked.priority,
        approvals=asked.approvals,
        approvals_by=asked.approvals_by,
        votes=item.votes,
        votes_by=item.votes_by,
        choices=asked.choices,
        has_form=asked.form is not None,
        tags=item.tags,
        replaces=asked.replaces,
        refused=None if asked.refused is None else document_of(RefusedDocument, asked.refused),
        run=item.workflow,
        workflow_name=item.function,
    )
