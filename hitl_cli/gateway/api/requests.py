"""Requests: what waits, one with all that there is to know of it, and what is said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import child_id, fresh_id
from hitl_cli.errors import BadAnswer, BadQuery
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.gateway.api.route import VIA, Call, Route, paged
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox.comments import comment, comment_in
from hitl_cli.inbox.decide import DecisionInput, approval, rejection
from hitl_cli.inbox.idempotency import decide_once, was_done
from hitl_cli.inbox.pending import RequestFilter, Sort, page_of_pending
from hitl_cli.inbox.resolve import find
from hitl_cli.people.groups import names_for
from hitl_cli.people.idempotency import IdempotencyKeyReused
from hitl_cli.requests.question import GROUP, PLAIN, Priority, question_of
from hitl_cli.views.decision import DecisionResultDocument, KeptCommentDocument, decision_result_document
from hitl_cli.views.details import details
from hitl_cli.views.pending import RequestsPage, request_summary_document
from hitl_cli.views.request import RequestDetailsDocument, request_details_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import ETag

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decide import DecisionResult
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.idempotency import IdempotencyMark

ANY = "*"

type Limit = Annotated[int, Meta(ge=1, le=1_000, description="How many at most.")]
type Cursor = Annotated[str, Meta(description="`next` of the page before.")]
type Name = Annotated[str, Meta(min_length=1)]
type Duration = Annotated[str, Meta(description="Such as 90s, 1h30m or 30d.")]


class RequestsQuery(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for", "from_": "from"}
):
    """What of that which waits to list. `to` and `tag` (NAME=VALUE) may be repeated."""

    for_: Literal["me"] | None = None
    to: tuple[Name, ...] = ()
    from_: Name | None = None
    workflow: Annotated[str, Meta(description="A glob for the run's id or its function.")] | None = None
    tag: tuple[Annotated[str, Meta(pattern="^[^=]+=")], ...] = ()
    due: Duration | None = None
    older: Duration | None = None
    priority: Priority | None = None
    sort: Sort = "age"
    limit: Limit = 100
    cursor: Cursor | None = None


class DecisionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer: a verdict, one of the request's choices, or as one word what its form of one field asks."""

    verdict: Literal["approve", "reject"] | None = None
    data: Any | UnsetType = UNSET
    choice: str | None = None
    answer: str | None = None
    reason: str | None = None
    comment: str | None = None


class CommentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A remark."""

    comment: str


async def _list_requests(call: Call) -> web.Response:
    """Answer with what waits."""
    query: RequestsQuery = call.query
    wanted = _filter_of(query, call.visitor.person, call.groups)

    def look(client: Client) -> RequestsPage:
        found, following = page_of_pending(
            client, wanted, groups=call.groups, sort=query.sort, limit=query.limit, after=query.cursor
        )
        return RequestsPage([request_summary_document(item, client.now()) for item in found], following)

    return paged(call, await call.gateway.bridge.run(look))


def _filter_of(query: RequestsQuery, person: str, groups: Groups) -> RequestFilter:
    """Return the filter that a query means. Raises BadInput."""
    mine = names_for(person, groups) if query.for_ is not None else ()
    if mine and query.to:
        raise BadQuery("for=me and to cannot be given together.")
    bare = [name.removeprefix(GROUP) for name in query.to]
    tags: dict[str, str] = {}
    for text in query.tag:
        name, _, value = text.partition("=")
        if tags.setdefault(name, value) != value:
            raise BadQuery(f"the tag {name!r} is given twice, with two values: nothing can have both.")
    return RequestFilter(
        workflow=query.workflow,
        to=(*mine, *(form for name in bare for form in (name, f"{GROUP}{name}"))),
        asker=query.from_,
        tags=tags,
        due_in_ms=None if query.due is None else parse_duration(query.due),
        older_than_ms=0 if query.older is None else parse_duration(query.older),
        priority=query.priority,
    )


async def _show_request(call: Call) -> web.Response:
    """Answer with one request; 304 if it is as the caller knows it."""
    document = await call.gateway.bridge.run(_document_of, call.id, call.groups)
    headers = {"ETag": f'"{_version(document)}"'}
    if _is_among(_version(document), call.request.if_none_match):
        return web.Response(status=304, headers=headers)
    return json_answer(document, headers=headers)


def _document_of(client: Client, id: str, groups: Groups) -> RequestDetailsDocument:
    """Return the request that an id or a key names. Raises NotFound, BadInput."""
    return request_details_document(details(client, find(client, id, whole=True), groups))


def _version(document: RequestDetailsDocument) -> str:
    """Return what changes with a request and not with the time."""
    still = msgspec.structs.replace(document, age_s=0)
    return stable_id(msgspec.json.encode(still), 32)


def _is_among(known: str, tags: Sequence[ETag] | None) -> bool:
    """Whether a version is one of those in a header."""
    return any(tag.value in (ANY, known) for tag in tags or ())


async def _decide(call: Call) -> web.Response:
    """Answer a request; 412 if it is not as the caller knows it."""
    answer = _answer_in(call.body, call.visitor.person)
    mark = await call.mark(f"decide {call.id}")
    known = call.request.if_match
    return json_answer(
        decision_result_document(
            await call.gateway.bridge.run(_decide_if_known, call, answer, mark, known),
        )
    )


def _answer_in(body: DecisionBody, person: str) -> DecisionInput:
    """Return the answer that a body is. Raises BadInput."""
    word = body.choice if body.choice is not None else body.answer
    if body.choice is not None and body.answer is not None:
        raise BadAnswer("give choice or answer, not both.")
    if body.verdict == "reject":
        if word is not None or body.data is not UNSET:
            raise BadAnswer("a rejection carries no data, choice or answer: give a reason.")
        return rejection(by=person, via=VIA, reason=body.reason, comment=body.comment)
    if body.reason is not None:
        raise BadAnswer("a reason goes with a rejection: give a comment.")
    if body.verdict is None and word is None:
        raise BadAnswer('a verdict is missing: "approve" or "reject"; or a choice, or an answer.')
    return approval(by=person, via=VIA, data=body.data, text=word, comment=body.comment)


def _decide_if_known(
    client: Client,
    call: Call,
    answer: DecisionInput,
    mark: IdempotencyMark | None,
    known: Sequence[ETag] | None,
) -> DecisionResult:
    """Answer a request, if that is as the caller knows it or was done by the same request before."""
    promise = find(client, call.id, whole=True)
    if call.body.choice is not None and not (question_of(promise) or PLAIN).choices:
        raise BadAnswer(f"{promise.id} offers no choices. Nothing was changed.")
    if known is not None and not was_done(client, promise, mark):
        document = request_details_document(details(client, promise, call.groups))
        if not _is_among(_version(document), [tag for tag in known if not tag.is_weak]):
            raise HttpError(412, f"{promise.id} has changed since you looked. Nothing was done: look again.")
    return decide_once(client, promise, answer, call.groups, mark)


async def _say(call: Call) -> web.Response:
    """Leave a remark on a request."""
    mark = await call.mark(f"comment {call.id}")
    kept = await call.gateway.bridge.run(_comment_once, call.id, call.body.comment, call.visitor.person, mark)
    return json_answer(kept, 201)


def _comment_once(
    client: Client, id: str, text: str, person: str, mark: IdempotencyMark | None
) -> KeptCommentDocument:
    """Leave a remark, once by the same request. Raises KeyReused for another one by its key."""
    request = find(client, id, whole=True)
    if mark is not None:
        earlier = get_promise(client, child_id(request.id, f"c{mark.key}"))
        said = None if earlier is None else comment_in(earlier)
        if earlier is not None and (said is None or said.text != text):
            raise IdempotencyKeyReused
    own = fresh_id() if mark is None else mark.key
    comment(client, request.id, text, by=person, via=VIA, new_id=lambda: own)
    return KeptCommentDocument(id=request.id, state=request.state, by=person, comment=text)


TABLE = [
    Route(
        method="GET",
        path="/api/v1/requests",
        handle=_list_requests,
        needs="read",
        summary="What waits for a person.",
        query=RequestsQuery,
        answers={200: RequestsPage},
    ),
    Route(
        method="GET",
        path="/api/v1/requests/{id}",
        handle=_show_request,
        needs="read",
        summary="One request, by its id or its key, waiting or answered.",
        answers={200: RequestDetailsDocument, 304: None},
        conditional="If-None-Match",
    ),
    Route(
        method="POST",
        path="/api/v1/requests/{id}/decision",
        handle=_decide,
        needs="decide",
        summary="Answer a request. Of several answers one is recorded; giving that one again is no error.",
        body=DecisionBody,
        answers={200: DecisionResultDocument},
        repeatable=True,
        conditional="If-Match",
    ),
    Route(
        method="POST",
        path="/api/v1/requests/{id}/comments",
        handle=_say,
        needs="decide",
        summary="Leave a remark on a request, decided or not.",
        body=CommentBody,
        answers={201: KeptCommentDocument},
        repeatable=True,
    ),
]
