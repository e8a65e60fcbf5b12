"""Decisions that can be undone for a few seconds, on the pages that follow them.

The page's script requests the delay; without it, a decision is made at once. Held decisions are on the
server, so none is lost if the visitor leaves the page or loses the network (hitl_cli/inbox/held.py). A cookie
names the latest, so that any gateway can show and undo them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.format.markdown import as_words
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.inbox.held import DUE_MS, Held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.context import Gateway

MOST = 8
"""Decisions that a cookie names; earlier ones have long been made."""

TOLD_MS = 10 * UNITS_MS["m"]
"""How long the pages show that a decision could not be made."""


class Told(Struct, frozen=True, kw_only=True):
    """A visitor's last decisions, as a page shows them.

    `now` is in ms since the epoch.
    """

    every: tuple[Held, ...] = ()
    now: int = 0

    @property
    def latest(self) -> Held | None:
        """The latest decision."""
        return self.every[-1] if self.every else None

    @property
    def last(self) -> Held | None:
        """The latest decision, unless it was undone or failed."""
        last = self.latest
        return last if last is not None and last.standing in ("held", "made") else None

    @property
    def undoable(self) -> bool:
        """Whether the latest decision can still be undone."""
        return self.last is not None and self.last.standing == "held" and self.now < self.last.until

    @property
    def failed(self) -> list[Held]:
        """The decisions that could not be made."""
        return [one for one in self.every if one.standing == "failed"]

    @property
    def pending(self) -> set[str]:
        """The ids of the requests whose decisions are held."""
        held = (one for one in self.every if one.standing == "held")
        return {id for one in held for id in (one.request, *one.many)}

    def on(self, request: str) -> Held | None:
        """Return the held decision on a request."""
        found = (one for one in self.every if one.standing == "held")
        return next((one for one in found if request in (one.many or (one.request,))), None)


def is_wanted(request: Request, form: Any) -> bool:
    """Whether a sent form asks to hold the decision, and the gateway does."""
    return gateway_of(request).options.undo and form_text(form, "hold") == "1"


async def told(request: Request, visitor: Visitor) -> Told:
    """Return a visitor's last decisions, to show them on a page."""
    ids = _ids_in(request)
    if not ids:
        return Told()
    gateway = gateway_of(request)
    found = await gateway.inbox(visitor.actor, lambda inbox: (inbox.held(ids), inbox.client.now()))
    return Told(every=tuple(found[0]), now=found[1])


def take(request: Request, response: StreamResponse, visitor: Visitor, held: Held) -> None:
    """Name a held decision in the browser's cookie, and make it when it is due."""
    gateway = gateway_of(request)
    _name(gateway, response, [*_ids_in(request), held.id])
    gateway.go_on(_make(gateway, visitor, held))


def forget_over(request: Request, response: StreamResponse, told: Told) -> None:
    """Remove from the cookie the decisions that are over and were shown on a page."""
    open_ids = [one.id for one in told.every if one.standing == "held"]
    if request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate" and open_ids != _ids_in(request):
        _name(gateway_of(request), response, open_ids)


def title_of(held: Held) -> str:
    """Return the title of a decision's request without Markdown."""
    return as_words(held.title)


async def _make(gateway: Gateway, visitor: Visitor, held: Held) -> None:
    """Make a decision when it is due. If the gateway ends before, housekeeping does."""
    await asyncio.sleep(DUE_MS / 1_000)
    pool = gateway.own_pool() if held.many else None  # other calls need not wait for it
    actor = structs.replace(visitor.actor, groups=gateway.options.people.members)  # the current groups
    try:
        await gateway.inbox(actor, lambda inbox: inbox.make_held(held, why_ended), pool=pool)
    finally:
        if pool is not None:
            await asyncio.to_thread(pool.close)


def _ids_in(request: Request) -> Sequence[str]:
    cookies = gateway_of(request).cookies
    text = cookies.get(request, cookies.held)
    return [id for id in text.split(".") if id][-MOST:]


def _name(gateway: Gateway, response: StreamResponse, ids: Sequence[str]) -> None:
    if ids:
        gateway.cookies.put(response, gateway.cookies.held, ".".join(ids[-MOST:]), TOLD_MS)
    else:
        gateway.cookies.drop(response, gateway.cookies.held)
