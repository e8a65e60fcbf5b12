"""The pages of runs: the list of them, one with the tree of its steps, and the form that cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import Struct

from hitl_cli.client.wire import Promise, audit_of, decode, headers_of
from hitl_cli.format.markdown import as_words
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.queries import ROWS, address, choice_in, form_text, text_in
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.notify.status import notice_in
from hitl_cli.requests.question import outcome_of, prompt_of
from hitl_cli.runs.lifecycle import Run, RunState, cancel, error_text, get_run, page_of_runs
from hitl_cli.runs.steps import first_steps

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.runs.steps import RunStep

STATES: tuple[RunState, ...] = get_args(RunState.__value__)

STEPS = 1_000
"""How many steps of a run are shown."""

DEEPEST = 8
"""How far steps are indented: what is deeper stands below its parent, so that it fits on a phone."""

SHOWN = 300
"""Characters of a step's result that are shown."""


VOTE_FIELDS = ("verdict", "choice", "reason")
"""What is shown of a vote."""


class _Step(Struct, frozen=True, kw_only=True):
    """A step as its line on the page says it. `ms` is how long it took, or has been taking."""

    depth: int
    id: str
    kind: str
    state: str
    name: str | None
    said: str | None
    by: str | None
    ms: int


class _Seen(Struct, frozen=True, kw_only=True):
    """A run with its steps, each before those inside it; `more` tells whether these are not all."""

    run: Run
    promise: Promise
    steps: tuple[_Step, ...]
    more: bool


async def _index(request: Request) -> web.Response:
    """Show a page of the runs, the newest first."""
    gateway = gateway_of(request)
    gateway.access.visitor(request, "read")
    state = choice_in(request, "state", STATES)
    after = text_in(request, "after")
    found, following = await gateway.bridge.run(page_of_runs, state=state, limit=ROWS, after=after)
    return page(
        request,
        "runs.html",
        runs=found,
        states=STATES,
        state=state,
        newest=address("/runs", {"state": state}) if after else None,
        older=address("/runs", {"state": state, "after": following}) if following else None,
    )


async def _show(request: Request) -> web.Response:
    """Show one run with its steps. The id of a step leads to its run, that of a question to its page."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    id = request.match_info["id"]
    seen = await gateway.bridge.run(_seen_run, id)
    if seen.promise.is_blocking:
        raise web.HTTPSeeOther(f"/r/{quote(seen.promise.id, safe=':')}")
    if seen.promise.id != id:
        raise web.HTTPSeeOther(f"/runs/{quote(seen.promise.id, safe=':')}")
    return page(
        request,
        "run.html",
        run=seen.run,
        call=seen.promise.call,
        started_by=headers_of(seen.promise.param).get("hitl:by"),
        steps=seen.steps,
        more=seen.more,
        can_cancel=not seen.run.ended and "start" in visitor.can,
    )


async def _confirm_cancel(request: Request) -> web.Response:
    """Ask whether a run is to be canceled. Changes nothing."""
    gateway = gateway_of(request)
    gateway.access.visitor(request, "start")
    run = await gateway.bridge.run(get_run, request.match_info["id"])
    return page(request, "cancel.html", run=run)


async def _take_cancel(request: Request) -> web.Response:
    """Cancel a run, and show it."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "start")
    form = await request.post()
    gateway.access.check_csrf(visitor, form_text(form, "csrf"))
    id = request.match_info["id"]
    reason = form_text(form, "reason").strip() or None
    await gateway.bridge.run(cancel, id, by=visitor.person, via=visitor.via, reason=reason)
    raise web.HTTPSeeOther(f"/runs/{quote(id, safe=':')}")


def _seen_run(client: Client, id: str) -> _Seen:
    """Return the run that an id means, its own or one of its steps'. Raises NotFound."""
    root, more = first_steps(client, id, STEPS)
    return _Seen(
        run=get_run(client, root.promise.id),
        promise=root.promise,
        steps=tuple(_lines(root, client.now())),
        more=more,
    )


def _lines(root: RunStep, now: int) -> list[_Step]:
    """Return the steps of a run, each before those inside it."""
    found: list[_Step] = []
    left = [(0, child) for child in reversed(root.children)]
    while left:
        depth, node = left.pop()
        found.append(_step(node, min(depth, DEEPEST), now))
        if node.kind != "notice":  # what came of it stands on the page of the request
            left += [(depth + 1, child) for child in reversed(node.children)]
    return found


def _step(node: RunStep, depth: int, now: int) -> _Step:
    """Return a step as its line says it."""
    promise = node.promise
    remark = node.kind in ("vote", "comment")
    audit = headers_of(promise.param).get("hitl:by") if remark else audit_of(promise).by
    return _Step(
        depth=depth,
        id=promise.id,
        kind="request" if node.kind == "person" else node.kind,
        state=_state_of(node),
        name=_name_of(node),
        said=_said_in(node),
        by=audit,
        ms=0 if remark else max((promise.settled_at or now) - promise.created_at, 0),
    )


def _state_of(node: RunStep) -> str:
    """Return how a step stands; of what was only said, nothing."""
    promise = node.promise
    match node.kind:
        case "vote" | "comment":
            return ""
        case "person":
            return outcome_of(promise) or "waiting"
    if promise.state == "pending":
        return "pending"
    if promise.state == "rejected_canceled":
        return "canceled"
    return {"resolved": "completed", "rejected": "failed"}.get(promise.state, "expired")


def _name_of(node: RunStep) -> str | None:
    """Return what a step is: of a request what it asks."""
    if node.kind == "person":
        return as_words(prompt_of(node.promise) or "")
    if node.kind == "notice" and (notice := notice_in(node.promise)) is not None:
        return notice.occasion
    call = node.promise.call
    return None if call is None else call.func


def _said_in(node: RunStep) -> str | None:
    """Return what came of a step, or what somebody said, cut to fit; None where that is nothing."""
    promise = node.promise
    said = decode(promise.param)
    if node.kind == "comment":
        return _shortened(said.get("comment") if isinstance(said, dict) else None)
    if node.kind == "vote":
        told = said if isinstance(said, dict) else {}
        return _shortened(" ".join(str(told[name]) for name in VOTE_FIELDS if told.get(name)))
    if promise.state == "pending":
        return None
    if any(child.kind == "person" for child in node.children):
        return None  # an `ask`, whose result is what its request says
    if promise.state != "resolved":
        return _shortened(error_text(promise))
    result = decode(promise.value)
    return None if result is True and node.kind == "person" else _shortened(result)


def _shortened(value: Json) -> str | None:
    """Return a value as text, cut to fit; None where there is none."""
    if value is None or value == "":
        return None
    text = printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


ROUTES = [
    web.get("/runs", _index),
    web.get("/runs/{id}", _show),
    web.get("/runs/{id}/cancel", _confirm_cancel),
    web.post("/runs/{id}/cancel", _take_cancel),
]
