"""`/`: the open requests of a visitor; `/r/ID`: one request and its form."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from aiohttp import web
from msgspec import Struct

from hitl_cli.errors import NotFound
from hitl_cli.format.markdown import as_words
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages import request as request_page
from hitl_cli.gateway.pages import sign_in
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.pending import SOON_MS, RequestFilter, Sort
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.requests.question import PRIORITIES, Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.inbox import Inbox

PAGE_SIZE = 50
"""Requests per page."""

LAST_PAGE = 1_000

LONGEST_TEXT = 200
"""Characters of a filter."""

SORTS: Mapping[Sort, str] = {
    "age": "Oldest first",
    "due": "Due first",
    "priority": "Highest priority first",
}


class _Look(Struct, frozen=True, kw_only=True):
    """The filters, order and page of the inbox. `every` includes requests for others."""

    every: bool = False
    text: str = ""
    workflow: str = ""
    priority: Priority | None = None
    sort: Sort = "age"
    page: int = 1

    @property
    def filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.text or self.workflow or self.priority)

    @property
    def arranged(self) -> bool:
        """Whether any filter or another order is set."""
        return self.filtered or self.sort != "age"

    def address(self, **changed: object) -> str:
        """Return the address of the first page, with changes."""
        asked = {name: getattr(self, name) for name in self.__struct_fields__} | {"page": 1} | changed
        said = {
            "all": "1" if asked["every"] else "",
            "q": asked["text"],
            "workflow": asked["workflow"],
            "priority": asked["priority"],
            "sort": "" if asked["sort"] == "age" else asked["sort"],
            "page": "" if asked["page"] == 1 else asked["page"],
        }
        query = urlencode({name: value for name, value in said.items() if value})
        return f"/?{query}" if query else "/"


class _Row(Struct, frozen=True):
    """A request in the list: its prompt without Markdown, and whether its deadline is near."""

    item: RequestSummary
    asks: str
    near: bool


class _Listed(Struct, frozen=True):
    """The requests on a page, whether there are more, and the total in words."""

    rows: tuple[_Row, ...]
    more: bool
    total: str


async def _inbox(request: Request) -> web.Response:
    """Show the open requests of the visitor, or of everyone."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    look = _look_in(request)
    found = await gateway.lists.run(visitor.actor, lambda inbox: _listed(inbox, look))
    return page(
        request,
        "inbox.html",
        look=look,
        rows=found.rows,
        total=found.total,
        before=look.address(page=look.page - 1) if look.page > 1 else None,
        after=look.address(page=look.page + 1) if found.more else None,
        sorts=SORTS,
        priorities=PRIORITIES,
    )


def _look_in(request: Request) -> _Look:
    """Return the filters of a query. Invalid ones are ignored."""
    query = request.query
    number = query.get("page", "")
    return _Look(
        every=query.get("all") == "1",
        text=query.get("q", "").strip()[:LONGEST_TEXT],
        workflow=query.get("workflow", "").strip()[:LONGEST_TEXT],
        priority=next((one for one in PRIORITIES if one == query.get("priority")), None),
        sort=next((one for one in SORTS if one == query.get("sort")), "age"),
        page=min(max(int(number), 1), LAST_PAGE) if number.isascii() and number.isdecimal() else 1,
    )


def _listed(inbox: Inbox, look: _Look) -> _Listed:
    """Return the requests on a page, and the total."""
    wanted = RequestFilter(
        person=None if look.every else inbox.actor.person,
        text=look.text,
        workflow=_as_glob(look.workflow) if look.workflow else None,
        priority=look.priority,
    )
    found, more = inbox.list(wanted, sort=look.sort, limit=look.page * PAGE_SIZE)
    rows = tuple(
        _Row(item, as_words(item.prompt or ""), near=item.deadline - item.now < SOON_MS)
        for item in found[(look.page - 1) * PAGE_SIZE :]
    )
    return _Listed(rows, more, _in_words(len(found), more=more))


def _in_words(count: int, *, more: bool) -> str:
    """Return the number of requests that were read for this page, in words."""
    if more:
        return f"More than {count:,} requests"
    return f"{count:,} request{'' if count == 1 else 's'}"


def _as_glob(text: str) -> str:
    """Return a glob for names that contain a text; a glob is returned unchanged."""
    return text if any(mark in text for mark in "*?[") else f"*{text}*"


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
    return request_page.show(request, visitor, looked, action=_address_of(id))


async def _take(request: Request) -> web.Response:
    """Answer or comment on a request."""
    access, name = gateway_of(request).access, request.match_info["id"]
    if access.known(request) is None:
        return await sign_in.keep(request, _address_of(name))
    visitor = access.visitor(request, "decide")
    try:
        return await request_page.take(request, name, visitor, _address_of)
    except NotFound as error:
        raise _gone(name) from error


def _gone(name: str) -> NotFound:
    """Return the error for a name without a request."""
    return NotFound(f"no request {name!r}. It may have been deleted, or the address is incomplete.")


def _address_of(id: str) -> str:
    """Return the address of a request's page."""
    return f"/r/{quote(id, safe=':')}"


ROUTES = [web.get("/", _inbox), web.get("/r/{id:.+}", _show), web.post("/r/{id:.+}", _take)]
