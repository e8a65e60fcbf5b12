"""`/`: the open requests of a visitor; `/r/ID`: one request and its form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web
from msgspec import Struct

from hitl_cli.errors import NotFound
from hitl_cli.format.markdown import as_words
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages import held as held_page
from hitl_cli.gateway.pages import request as request_page
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.look import COUNTED, PAGE_SIZE, SORTS, Look, look_in, remember, remembered
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.pending import SOON_MS
from hitl_cli.inbox.permission import may_answer
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.people.groups import Absence
from hitl_cli.requests.question import PRIORITIES

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.http_error import HttpError
    from hitl_cli.inbox import Inbox


class _Row(Struct, frozen=True):
    """A request in the list: its prompt without Markdown, and whether its deadline is near.

    `mine` is whether the visitor may answer it.
    """

    item: RequestSummary
    asks: str
    near: bool
    mine: bool


class _Listed(Struct, frozen=True):
    """The requests on a page, whether there are more after it, and the total in words.

    `absence` is that of the visitor, if they are away.
    """

    rows: tuple[_Row, ...]
    after: bool
    total: str
    absence: Absence | None


async def _inbox(request: Request) -> web.Response:
    """Show the open requests of the visitor, or of everyone. Without a query, the last filters are used."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    if not request.query and (query := remembered(request, visitor).query()):
        return web.Response(status=request_page.SEE_OTHER, headers={"Location": f"/?{query}"})
    look = look_in(request.query)
    held = await held_page.told(request, visitor)
    found = await gateway.lists.run(visitor.actor, lambda inbox: _listed(inbox, look))
    response = page(
        request,
        "inbox.html",
        look=look,
        held=held,
        rows=found.rows,
        absence=found.absence,
        total=found.total,
        before=look.address(page=look.page - 1) if look.page > 1 else None,
        after=look.address(page=look.page + 1) if found.after else None,
        sorts=SORTS,
        priorities=PRIORITIES,
    )
    remember(request, response, visitor, look)
    held_page.forget_over(request, response, held)
    return response


def _listed(inbox: Inbox, look: Look) -> _Listed:
    """Return the requests on a page, and the total."""
    end = look.page * PAGE_SIZE
    found, more = inbox.list(look.filter(inbox.actor.person), sort=look.sort, limit=max(end, COUNTED))
    rows = tuple(
        _Row(
            item,
            as_words(item.prompt or ""),
            near=item.deadline - item.now < SOON_MS,
            mine=not look.every or may_answer(item, inbox.actor.person, inbox.actor.groups),
        )
        for item in found[end - PAGE_SIZE : end]
    )
    groups, person = inbox.actor.groups, inbox.actor.person
    absence = next((one for one in groups.away if groups.same(one.person, person)), None)
    return _Listed(rows, more or len(found) > end, _in_words(len(found), more=more), absence)


def _in_words(count: int, *, more: bool) -> str:
    """Return the number of open requests, as text."""
    if more:
        return f"More than {count:,} requests"
    return f"{count:,} request{'' if count == 1 else 's'}"


async def _show(request: Request) -> StreamResponse:
    """Show a request. Other names of it redirect to its own address."""
    visitor = gateway_of(request).access.visitor(request, "read")
    name = request.match_info["id"]
    try:
        looked = await request_page.look(request, visitor, name)
    except NotFound as error:
        raise _gone(name) from error
    id = looked.seen.item.id
    if id != name:
        return web.Response(status=request_page.SEE_OTHER, headers={"Location": _address_of(id)})
    return await request_page.show(request, visitor, looked, action=_address_of(id))


async def _take(request: Request, visitor: Visitor, form: Any) -> web.Response:
    """Answer or comment on a request."""
    name = request.match_info["id"]
    try:
        return await request_page.take(request, visitor, form, name, _address_of)
    except NotFound as error:
        raise _gone(name) from error


async def _stale(request: Request, visitor: Visitor, form: Any, error: HttpError) -> web.Response:
    """Show a request again."""
    name = request.match_info["id"]
    try:
        return await request_page.stale(request, visitor, form, error, name, _address_of)
    except NotFound as missing:
        raise _gone(name) from missing


def _gone(name: str) -> NotFound:
    """Return the error for a name without a request."""
    return NotFound(f"no request {name!r}. It may have been deleted, or the address is incomplete.")


def _address_of(id: str) -> str:
    """Return the address of a request's page."""
    return f"/r/{quote(id, safe=':')}"


ROUTES = [
    web.get("/", _inbox),
    web.get("/r/{id:.+}", _show),
    form_route(
        "/r/{id:.+}",
        _take,
        "decide",
        kept_for=lambda request: _address_of(request.match_info["id"]),
        stale=_stale,
    ),
]
