"""The page of what was answered: by whom, when, through what and why; and the same as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import msgspec
from aiohttp import web
from msgspec import Struct

from hitl_cli.durations import parse_duration
from hitl_cli.gateway.markdown import as_words
from hitl_cli.gateway.queries import ROWS, address, choice_in, spans, text_in
from hitl_cli.gateway.rendering import page
from hitl_cli.gateway.service import gateway_of
from hitl_cli.inbox.history import Wanted, page_of_history
from hitl_cli.questions import Outcome

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.inbox.history import Entry

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome.__value__)


class Row(Struct, frozen=True):
    """A decision in the list: what was asked without the marks of Markdown, and what was answered as text."""

    entry: Entry
    asked: str
    data: str | None


async def index(request: Request) -> web.Response:
    """Show a page of the decisions, the newest first."""
    gateway = gateway_of(request)
    gateway.access.visitor(request, "read")
    filters = {name: text_in(request, name) for name in ("by", "workflow", "since")}
    outcome = choice_in(request, "outcome", OUTCOMES)
    filters["outcome"] = outcome
    after = text_in(request, "after")
    wanted = Wanted(
        by=filters["by"],
        workflow=filters["workflow"],
        since=since(filters["since"], gateway.clock()),
        outcome=outcome,
    )
    found, following = await gateway.bridge.run(page_of_history, wanted, limit=ROWS, after=after)
    return page(
        request,
        "history.html",
        rows=[Row(entry, as_words(entry.asked or entry.id), data_in(entry)) for entry in found],
        filters=filters,
        narrowed=any(filters.values()),
        outcomes=OUTCOMES,
        spans=spans(filters["since"]),
        newest=address("/history", filters) if after else None,
        older=address("/history", filters | {"after": following}) if following else None,
    )


def since(span: str | None, now: int) -> int | None:
    """Return the instant so long ago. Raises BadInput."""
    return None if span is None else max(now - parse_duration(span), 0)


def data_in(entry: Entry) -> str | None:
    """Return what was answered beyond a yes, a no or a choice, as JSON; None where that is nothing."""
    if entry.data is None or entry.data is True or entry.data == entry.choice:
        return None
    return entry.data if isinstance(entry.data, str) else msgspec.json.encode(entry.data).decode()


ROUTES = [web.get("/history", index)]
