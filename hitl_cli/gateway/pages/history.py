"""The history page: who decided what, when, where and why. Also as a file to download."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from aiohttp import web
from msgspec import Struct

from hitl_cli.format.durations import parse_duration
from hitl_cli.format.json import to_json
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.queries import ROWS, address, choice_in, spans, text_in
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.inbox.history import HistoryEntry, HistoryFilter
from hitl_cli.requests.question import Outcome
from hitl_cli.views.history import (
    answer_in,
    changed_text,
    csv_entry,
    csv_head,
    data_read,
    data_text,
    history_entry_document,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web import Request

    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.context import Gateway

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome.__value__)


CHUNK = 500
"""Decisions to read at a time for a file."""


CSV = "text/csv; charset=utf-8"


class _File(Struct, frozen=True, kw_only=True):
    """A file format: its title, media type, header row, and how to write an entry."""

    title: str
    type: str
    head: str
    line: Callable[[HistoryEntry], str]


async def _index(request: Request) -> web.Response:
    """Show a page of decisions, newest first."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    filters = _filters_in(request)
    after = text_in(request, "after")
    wanted = _wanted_of(filters, gateway.clock())
    found, following = await _read(gateway, visitor, wanted, ROWS, after)
    return page(
        request,
        "history.html",
        sees_all=visitor.actor.sees_all,
        entries=found,
        data_text=data_text,
        answer_in=answer_in,
        data_read=data_read,
        changed_text=changed_text,
        filters=filters,
        narrowed=any(filters.values()),
        outcomes=OUTCOMES,
        spans=spans(filters["since"]),
        newest=address("/history", filters) if after else None,
        older=address("/history", filters | {"after": following}) if following else None,
        files={file.title: address(f"/history.{name}", filters) for name, file in FILES.items()},
    )


async def _download(request: Request) -> web.StreamResponse:
    """Send all matching decisions as a file, while they are read."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    name = request.match_info["kind"]
    kind = FILES[name]
    wanted = _wanted_of(_filters_in(request), gateway.clock())
    found, after = await _read(gateway, visitor, wanted, CHUNK)
    response = web.StreamResponse(
        headers={"Content-Type": kind.type, "Content-Disposition": f'attachment; filename="history.{name}"'}
    )
    await response.prepare(request)
    await response.write(kind.head.encode())
    while True:
        await response.write("".join(map(kind.line, found)).encode())
        if after is None:
            return response
        found, after = await _read(gateway, visitor, wanted, CHUNK, after)


async def _read(
    gateway: Gateway, visitor: Visitor, wanted: HistoryFilter, limit: int, after: str | None = None
) -> tuple[list[HistoryEntry], str | None]:
    """Return the next decisions, and the `after` of the next call."""
    return await gateway.inbox(
        visitor.actor,
        lambda inbox: inbox.history_page(wanted, limit=limit, after=after),
        pool=gateway.lookback,
    )


def _filters_in(request: Request) -> dict[str, str | None]:
    """Return the filters of a query. Raises BadInput."""
    filters = {name: text_in(request, name) for name in ("by", "workflow", "since")}
    return filters | {"outcome": choice_in(request, "outcome", OUTCOMES)}


def _wanted_of(filters: Mapping[str, str | None], now: int) -> HistoryFilter:
    """Return filters as a HistoryFilter. Raises BadInput."""
    return HistoryFilter(
        by=filters["by"],
        workflow=filters["workflow"],
        since=_since(filters["since"], now),
        outcome=next((outcome for outcome in OUTCOMES if outcome == filters["outcome"]), None),
    )


def _since(span: str | None, now: int) -> int | None:
    """Return the instant that is a duration ago. Raises BadInput."""
    return None if span is None else max(now - parse_duration(span), 0)


def _as_json(entry: HistoryEntry) -> str:
    """Return an entry as a line of JSON."""
    return to_json(history_entry_document(entry)) + "\n"


FILES: Mapping[str, _File] = {
    "csv": _File(title="CSV", type=CSV, head=csv_head(), line=csv_entry),
    "excel.csv": _File(title="CSV for Excel", type=CSV, head=csv_head(excel=True), line=csv_entry),
    "ndjson": _File(title="NDJSON", type="application/x-ndjson", head="", line=_as_json),
}
"""The files to download, by file extension."""

ROUTES = [web.get("/history", _index), web.get(r"/history.{kind:csv|excel\.csv|ndjson}", _download)]
