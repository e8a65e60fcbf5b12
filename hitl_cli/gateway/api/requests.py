"""Requests: list, show, decide, comment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from hitl_cli.auth import links
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import BadInput, BadQuery
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.gateway.api.route import Call, Instant, Routes, in_ms
from hitl_cli.gateway.decision_waiters import has_left
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import new_id
from hitl_cli.inbox.pending import RequestFilter, Sort, read_tags
from hitl_cli.people.sight import Sight
from hitl_cli.proof.statement import changed_since
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Priority
from hitl_cli.requests.question_input import QuestionInput
from hitl_cli.views.amended import AmendedDocument, amended_document
from hitl_cli.views.auth import LinkDocument, link_document
from hitl_cli.views.decision import DecisionResultDocument, KeptCommentDocument, decision_result_document
from hitl_cli.views.pending import (
    RequestsPage,
    ThreadEntryDocument,
    request_summary_document,
    thread_entry_document,
)
from hitl_cli.views.request import RequestDetailsDocument, request_details_document, stored_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import ETag

    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.inbox.request_summary import RequestSummary

routes = Routes()

ANY = "*"

WAIT_MAX_MS = 60_000
"""The longest wait for a decision; proxies close a connection that is silent for longer."""

type Limit = Annotated[int, Meta(ge=1, le=1_000, description="Maximum number of items.")]
type Cursor = Annotated[str, Meta(description="`next` of the previous page.")]
type Name = Annotated[str, Meta(min_length=1)]
type Duration = Annotated[str, Meta(description="A duration, e.g. 90s, 1h30m or 30d.")]


class RequestsQuery(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for", "from_": "from"}
):
    """Which requests to list. `to` and `tag` (NAME=VALUE) may be repeated.

    `for=me` means requests that you may answer now: you are an assignee, by name or through a group, or
    anyone may answer, and you are not excluded for having started the run.
    """

    for_: Annotated[Literal["me"] | None, Meta(description="Only requests that you may answer now.")] = None
    to: Annotated[tuple[Name, ...], Meta(description="One of these must be an assignee.")] = ()
    from_: Annotated[Name | None, Meta(description="The person who asked, or started the run.")] = None
    workflow: Annotated[str, Meta(description="A glob for the run's id or its workflow.")] | None = None
    tag: Annotated[tuple[Annotated[str, Meta(pattern="^[^=]+=")], ...], Meta(description="NAME=VALUE.")] = ()
    due: Annotated[str | None, Meta(description="Due within this duration, e.g. 90s or 30d.")] = None
    older: Annotated[str | None, Meta(description="Open for longer than this duration, e.g. 2h.")] = None
    priority: Priority | None = None
    sort: Sort = "age"
    limit: Limit = 100
    cursor: Cursor | None = None


class RequestQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for the decision: at most 60s. Without `wait`, the response comes at once."""

    wait: Annotated[str | None, Meta(description="How long to wait for the decision, at most 60s.")] = None
    stored: Annotated[
        bool, Meta(description="Also return a decided request in its stored form, to check its proof.")
    ] = False


class AnswerUrlBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer URL to create."""

    expires: Annotated[
        str | None, Meta(description="How long it is valid, a duration; at most until the deadline.")
    ] = None


class UseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The use of an approval. The same `key` again is the same use; without one, each call is another."""

    key: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        Meta(description="Identifies the use: the same key again is the same use."),
    ] = None


class ThreadBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What you ask back, or answer."""

    text: str


class CommentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comment."""

    comment: str


class AssignBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new assignees, in place of the present ones, or (`add`) in addition."""

    to: Annotated[tuple[str, ...], Meta(min_length=1, description="People, and groups as group:NAME.")]
    add: Annotated[bool, Meta(description="Add them to the present assignees.")] = False
    anyway: Annotated[bool, Meta(description="Accept names that are not in the settings.")] = False


class ClaimBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """How long a request is claimed, a duration."""

    for_: Annotated[str, Meta(description="How long the claim is valid, a duration.")] = "1h"


class ExtendBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By how much a deadline is moved, a duration, or until when."""

    by: Annotated[str | None, Meta(description="Time to add, a duration. Or give `until`.")] = None
    until: Instant | None = None


class ReleaseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which claim to end: yours, or (`anyway`) another person's."""

    anyway: Annotated[bool, Meta(description="End the claim even if it is another person's.")] = False


@routes.get("/requests", "List open requests.", needs=("read", "ask"))
async def _list_requests(call: Call[RequestsQuery, None]) -> RequestsPage:
    """Return open requests."""
    query = call.query
    wanted = _filter_of(query, call.visitor.person)

    def look(inbox: Inbox) -> RequestsPage:
        found, following = inbox.page(wanted, sort=query.sort, limit=query.limit, after=query.cursor)
        return RequestsPage([request_summary_document(item, inbox.client.now()) for item in found], following)

    return await call.gateway.lists.run(call.actor, look)


def _filter_of(query: RequestsQuery, person: str) -> RequestFilter:
    """Return the filter of a query. Raises BadInput."""
    if query.for_ is not None and query.to:
        raise BadQuery("for=me and to cannot be combined: send one of them.")
    return RequestFilter(
        workflow=query.workflow,
        to=query.to,
        person=None if query.for_ is None else person,
        asker=query.from_,
        tags=read_tags(query.tag, "the tag"),
        due_in_ms=None if query.due is None else parse_duration(query.due),
        older_than_ms=0 if query.older is None else parse_duration(query.older),
        priority=query.priority,
    )


@routes.post(
    "/requests",
    "Create a request. Repeating the same id and content returns the existing request.",
    needs=("ask",),
    answers={200: RequestDetailsDocument, 201: RequestDetailsDocument},
    repeatable=True,
)
def _ask(call: Call[None, QuestionInput], inbox: Inbox) -> web.Response:
    """Create a request, or return the existing one. Responds 201 if this request created it.

    Without an `id`, one is made from the Idempotency-Key, or at random. A token that may not start runs gets
    `ask-` before it. Another question with the same id is 409; `lines` say what differs.
    """
    options = call.gateway.options
    mark = call.mark("ask")
    id = new_id(None if mark is None else mark.key)
    asked = inbox.put(call.body, options.people, options.group, id=id)
    document = _document(call, inbox, asked.id)
    headers = {
        "Location": f"/api/v1/requests/{quote(document.id, safe='')}",
        "ETag": f'"{_version(document)}"',
    }
    return json_answer(document, 201 if asked.fresh else 200, headers)


@routes.delete("/requests/{id}", "Cancel a request that was created without a run.", needs=("ask",))
def _take_back(call: Call[None, None], inbox: Inbox) -> RequestDetailsDocument:
    """Cancel a request that was created without a run. A decided one is not changed."""
    inbox.withdraw(inbox.asked(call.id))
    return _document(call, inbox)


def _document(call: Call[Any, Any], inbox: Inbox, id: str | None = None) -> RequestDetailsDocument:
    """Return the request in the path, or with an id."""
    return request_details_document(inbox.show(id or call.id, whole=True), call.gateway.options.people)


@routes.get(
    "/requests/{id}",
    "Get a request by its id or key, open or decided, or wait until it is decided or asked back.",
    needs=("read", "ask"),
    answers={200: RequestDetailsDocument, 304: None},
    conditional="If-None-Match",
)
async def _show_request(call: Call[RequestQuery, None]) -> web.Response:
    """Return a request, or 304 if it has not changed. With `wait`, wait until it is decided or asked back."""
    wait_s = _wait_s_of(call.query)
    id = await _until_decided(call, wait_s) if wait_s else None
    return await _shown(call, await _seen(call, id))


async def _until_decided(call: Call[RequestQuery, None], wait_s: float) -> str:
    """Return the id of the request once it is decided or the time is up, or end if the client leaves.

    It reads the request once, and no thread is held during the wait. A key or a run is resolved at the start,
    because it may mean another request later.
    """
    id, waiters = call.id, call.gateway.waiters
    while True:
        with waiters.on(call.request, id) as woken:
            await waiters.ready()
            item = await _named(call, id)
            if item.id == id and item.promise.state == "pending":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await woken.wait()
                if has_left(call.request):
                    raise ConnectionResetError
            if item.id == id or item.promise.state != "pending":
                return item.id
        id = item.id


async def _named(call: Call[RequestQuery, None], name: str) -> RequestSummary:
    """Return the request with a name, without its details."""
    return await call.inbox(lambda inbox: inbox.find(name, whole=True))


def _wait_s_of(query: RequestQuery) -> float:
    """Return how long to wait, in s; 0 not to wait. Raises BadInput."""
    if query.wait is None:
        return 0
    wait_ms = parse_duration(query.wait)
    if wait_ms > WAIT_MAX_MS:
        raise BadQuery(f"wait={query.wait} is too long: at most 60s. Send the request again to wait longer.")
    return wait_ms / 1_000


async def _seen(call: Call[RequestQuery, None], id: str | None = None) -> RequestDetails:
    """Return the request in the path, or with an id."""
    return await call.inbox(lambda inbox: inbox.show(call.id if id is None else id, whole=True))


async def _shown(call: Call[RequestQuery, None], seen: RequestDetails) -> web.Response:
    """Return a request as a response, or 304 if the client has this version."""
    document = request_details_document(seen, call.gateway.options.people)
    if call.query.stored:
        by_asker = call.actor.groups.same(call.actor.person, seen.item.asker)
        document = msgspec.structs.replace(document, stored=stored_document(seen, by_asker=by_asker))
    headers = {"ETag": f'"{_version(document)}"'}
    if _is_among(_version(document), call.request.if_none_match):
        return web.Response(status=304, headers=headers)
    return json_answer(document, headers=headers)


def _version(document: RequestDetailsDocument) -> str:
    """Return a hash of a request that does not change merely because time passes."""
    still = msgspec.structs.replace(document, age_s=0)
    return stable_id(msgspec.json.encode(still), 32)


def _is_among(known: str, tags: Sequence[ETag] | None) -> bool:
    """Whether a header's ETags include a version."""
    return any(tag.value in (ANY, known) for tag in tags or ())


@routes.post(
    "/requests/{id}/decision",
    "Decide a request. Only the first decision is recorded; repeating it is not an error.",
    needs=("decide",),
    repeatable=True,
    conditional="If-Match",
)
async def _decide(call: Call[None, DecisionInput]) -> DecisionResultDocument:
    """Decide a request. Responds 412 if it has changed since the `If-Match` version."""
    mark = call.mark(f"decide {call.id}")
    known = call.request.if_match
    if mark is None and known is None:
        made = await call.gateway.decisions.decide(call.actor, call.id, call.body)
        return decision_result_document(made)

    def decide(inbox: Inbox) -> DecisionResult:
        def expect(item: RequestSummary) -> None:
            version = _version(request_details_document(inbox.show(item), call.gateway.options.people))
            if not _is_among(version, [tag for tag in known or () if not tag.is_weak]):
                raise HttpError(412, changed_since(item.id))

        return inbox.decide(
            call.id, call.body, whole=True, mark=mark, expect=None if known is None else expect
        )

    return decision_result_document(await call.inbox(decide))


@routes.post(
    "/requests/{id}/answer-url",
    "Create a URL to which a program can post your answer, without a token.",
    needs=("decide",),
    status=201,
)
def _make_answer_url(call: Call[None, AnswerUrlBody], inbox: Inbox) -> LinkDocument:
    """Create a URL to which a program can post your answer to a request, without a token.

    It is only for the person of the token, and for this request. It ends with the request, or earlier by
    `expires`. `hitl link revoke` revokes it.
    """
    gateway = call.gateway
    link = links.make(
        inbox.client,
        call.id,
        call.visitor.person,
        life_ms=None if call.body.expires is None else parse_duration(call.body.expires),
        kind=links.PROGRAM,
        groups=call.actor.groups,
        whole=True,
        sight=Sight(inbox.actor, acting="decide"),
    )
    url = links.url_of(gateway.url, link, gateway.keys(), links.PROGRAM)
    return link_document(link, url)


@routes.post(
    "/requests/{id}/use", "Record the use of an approval that may be used only once.", needs=("ask",)
)
def _use(call: Call[None, UseBody], inbox: Inbox) -> RequestDetailsDocument:
    """Record the use of an approval that may be used only once. Responds 409 if it was used before."""
    inbox.consume(call.id, call.body.key or fresh_id())
    return _document(call, inbox)


@routes.post(
    "/requests/{id}/ask-back",
    "Ask the person who sent a request something before you decide it. Repeating it changes nothing.",
    needs=("decide",),
    status=201,
)
def _ask_back(call: Call[None, ThreadBody], inbox: Inbox) -> ThreadEntryDocument:
    """Ask the asker of a request a question before you decide. Responds 409 if there is already one."""
    return thread_entry_document(inbox.ask_back(call.id, call.body.text, whole=True))


@routes.post(
    "/requests/{id}/answer-back",
    "Answer a question about your request. Repeating it changes nothing.",
    needs=("decide", "ask"),
    status=201,
)
def _answer_back(call: Call[None, ThreadBody], inbox: Inbox) -> ThreadEntryDocument:
    """Answer a question that was asked back about a request of yours. Responds 409 if there is none."""
    return thread_entry_document(inbox.answer_back(call.id, call.body.text, whole=True))


@routes.post(
    "/requests/{id}/comments",
    "Comment on a request, open or decided.",
    needs=("decide",),
    status=201,
    repeatable=True,
)
def _say(call: Call[None, CommentBody], inbox: Inbox) -> KeptCommentDocument:
    """Add a comment to a request."""
    text = call.body.comment
    request = inbox.comment(call.id, text, whole=True, mark=call.mark(f"comment {call.id}"))
    return KeptCommentDocument(id=request.id, state=request.state, by=call.visitor.person, comment=text)


@routes.post("/requests/{id}/assign", "Assign an open request to others.", needs=("decide", "ask"))
def _assign(call: Call[None, AssignBody], inbox: Inbox) -> AmendedDocument:
    """Assign a request to others, if its `reassign` lets you. They are notified."""
    body, options = call.body, call.gateway.options
    return amended_document(
        inbox.assign(
            call.id,
            body.to,
            options.people,
            options.group,
            add=body.add,
            anyway=body.anyway,
            whole=True,
        )
    )


@routes.post(
    "/requests/{id}/claim", "Tell the other assignees that you are working on a request.", needs=("decide",)
)
def _claim(call: Call[None, ClaimBody], inbox: Inbox) -> AmendedDocument:
    """Tell the others that you are working on it. They can still decide, without `unless_claimed`."""
    return amended_document(inbox.claim(call.id, parse_duration(call.body.for_), whole=True))


@routes.post("/requests/{id}/release", "End the claim on a request.", needs=("decide", "ask"))
def _release(call: Call[None, ReleaseBody], inbox: Inbox) -> AmendedDocument:
    """End your claim on a request; with `anyway` also another person's, if you may answer or assign it."""
    return amended_document(inbox.release(call.id, anyway=call.body.anyway, whole=True))


@routes.post("/requests/{id}/extend", "Move the deadline of an open request.", needs=("decide", "ask"))
def _extend(call: Call[None, ExtendBody], inbox: Inbox) -> AmendedDocument:
    """Move the deadline of a request, as far as its author allows."""
    by, until = call.body.by, call.body.until
    if (by is None) == (until is None):
        raise BadInput("no new deadline given: send by or until.", code="bad-duration")
    by_ms = None if by is None else parse_duration(by)
    to = None if until is None else in_ms(until)
    return amended_document(inbox.extend(call.id, by_ms, until=to, whole=True))
