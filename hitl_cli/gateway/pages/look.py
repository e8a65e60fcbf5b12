"""A visitor's view of the inbox: filters and order, in the address and in a cookie.

The requests that a view finds are also the queue of its visitor: after a decision, the next one is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from msgspec import Struct

from hitl_cli.gateway.context import gateway_of
from hitl_cli.inbox.pending import RequestFilter, Sort
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.requests.question import PRIORITIES, Priority

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.inbox import Inbox

PAGE_SIZE = 50
"""Requests per page."""

COUNTED = 200
"""Up to this many requests are counted; for more, the page says that there are more."""

LAST_PAGE = 1_000

LONGEST_NUMBER = 9
"""Digits that are read of the number of a page: more than the last one has."""

LONGEST_TEXT = 200
"""Characters of a filter."""

REMEMBERED_MS = 180 * 86_400_000
"""How long a browser remembers a look."""

SORTS: Mapping[Sort, str] = {
    "age": "Oldest first",
    "due": "Due first",
    "priority": "Highest priority first",
}

_SUBJECT = "inbox"
"""What a remembered look is marked with, besides the person: another person does not get it."""


class Look(Struct, frozen=True, kw_only=True):
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

    def query(self, **changed: object) -> str:
        """Return the query of the first page, with changes; empty for the default."""
        asked = {name: getattr(self, name) for name in self.__struct_fields__} | {"page": 1} | changed
        said = {
            "all": "1" if asked["every"] else "",
            "q": asked["text"],
            "workflow": asked["workflow"],
            "priority": asked["priority"],
            "sort": "" if asked["sort"] == "age" else asked["sort"],
            "page": "" if asked["page"] == 1 else asked["page"],
        }
        return urlencode({name: value for name, value in said.items() if value})

    def address(self, **changed: object) -> str:
        """Return the address of the first page, with changes. It is never `/`, the remembered look."""
        return f"/?{self.query(**changed) or 'all=0'}"

    def filter(self, person: str) -> RequestFilter:
        """Return what it finds for a person."""
        return RequestFilter(
            person=None if self.every else person,
            text=self.text,
            workflow=_as_glob(self.workflow) if self.workflow else None,
            priority=self.priority,
        )


class Queue(Struct, frozen=True):
    """What waits besides a request, as a look finds it: the next one, and how many (`more`: or more)."""

    following: RequestSummary | None
    waiting: int
    more: bool
    look: Look


def look_in(query: Mapping[str, str]) -> Look:
    """Return the look of a query. Invalid parts are ignored."""
    number = query.get("page", "")
    return Look(
        every=query.get("all") == "1",
        text=query.get("q", "").strip()[:LONGEST_TEXT],
        workflow=query.get("workflow", "").strip()[:LONGEST_TEXT],
        priority=next((one for one in PRIORITIES if one == query.get("priority")), None),
        sort=next((one for one in SORTS if one == query.get("sort")), "age"),
        page=min(max(int(number[:LONGEST_NUMBER]), 1), LAST_PAGE) if number.isdecimal() else 1,
    )


def look_of(query: str) -> Look:
    """Return the look of a query's text (`Look.query`). Invalid parts are ignored."""
    return look_in({name: texts[0] for name, texts in parse_qs(query).items()})


def remembered(request: Request, visitor: Visitor) -> Look:
    """Return the look that a visitor's browser remembers, on its first page; otherwise the default."""
    gateway = gateway_of(request)
    mark, dot, query = gateway.cookies.get(request, gateway.cookies.look).partition("~")
    if not dot or not gateway.access.is_keep_mark(mark, visitor.person, _SUBJECT):
        return Look()
    return look_of(query)


def remember(request: Request, response: StreamResponse, visitor: Visitor, look: Look) -> None:
    """Store a look in a cookie of the visitor's browser."""
    query = look.query()
    if query == remembered(request, visitor).query():
        return
    gateway = gateway_of(request)
    mark = gateway.access.keep_mark(visitor.person, _SUBJECT)
    if query:
        gateway.cookies.put(response, gateway.cookies.look, f"{mark}~{query}", REMEMBERED_MS)
    else:
        gateway.cookies.drop(response, gateway.cookies.look)


async def queue(
    request: Request,
    visitor: Visitor,
    id: str,
    without: Collection[str] = (),
    decided: RequestSummary | None = None,
) -> Queue:
    """Return the requests that are open besides one, by the visitor's view of the inbox.

    `without` are requests that they have already decided. `decided` is this request, if it may be decided.
    """
    look = remembered(request, visitor)

    def read(inbox: Inbox) -> Queue:
        found, more = inbox.list(look.filter(inbox.actor.person), sort=look.sort, limit=COUNTED)
        own = next((item for item in found if item.id == id), decided)
        others = [item for item in found if item.id != id and item.id not in without]
        later = (item for item in others if own and _place(item, look.sort) > _place(own, look.sort))
        return Queue(next(later, others[0] if others else None), len(others), more, look)

    return await gateway_of(request).lists.run(visitor.actor, read)


def _place(item: RequestSummary, sort: Sort) -> tuple[int, int, str]:
    """Return the place of a request in an order."""
    first = {"age": 0, "due": item.deadline, "priority": PRIORITIES.index(item.asked.priority)}[sort]
    return first, item.created_at, item.id


def _as_glob(text: str) -> str:
    """Return a glob for names that contain a text; a glob is returned unchanged."""
    return text if any(mark in text for mark in "*?[") else f"*{text}*"
