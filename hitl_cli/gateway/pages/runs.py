"""The pages of runs: the list, one run with its steps, and the form that cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

from aiohttp import web
from msgspec import Struct

from hitl_cli.client.wire import headers_of
from hitl_cli.errors import NotFound
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.queries import ROWS, address, choice_in, form_text, text_in
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunState
from hitl_cli.views.steps import KIND_WORDS, StepSummary, retry_text, sleeps_until, step_summary

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client
    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.http_error import HttpError
    from hitl_cli.runs.steps import RunStep, RunTree

STATES: tuple[RunState, ...] = get_args(RunState.__value__)

STEPS = 1_000
"""Steps of a run to show."""

DEEPEST = 8
"""Levels of indented steps. Deeper steps are not indented further, so that they fit on a phone."""

SHOWN = 300
"""Characters of a step's result to show."""


class _Line(Struct, frozen=True, kw_only=True):
    """A step's line on the page: its kind, what a sleep waits for, and the shortened result."""

    step: StepSummary
    kind: str
    until: tuple[str, int] | None
    depth: int
    said: str | None


async def _index(request: Request) -> web.Response:
    """Show a page of runs, newest first."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    state = choice_in(request, "state", STATES)
    after = text_in(request, "after")
    found, following = await gateway.bridge.run(
        lambda client: Runs(client, visitor.actor).page(state=state, limit=ROWS, after=after)
    )
    return page(
        request,
        "runs.html",
        sees_all=visitor.actor.sees_all,
        runs=found,
        states=STATES,
        state=state,
        newest=address("/runs", {"state": state}) if after else None,
        older=address("/runs", {"state": state, "after": following}) if following else None,
    )


async def _show(request: Request) -> web.Response:
    """Show a run with its steps. The id of a step redirects to its run, that of a request to its page."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "read")
    id = request.match_info["id"]

    def look(client: Client) -> tuple[RunTree, list[_Line]]:
        tree = Runs(client, visitor.actor).steps(id, STEPS)
        return tree, _lines(tree.root, client.now())

    try:
        tree, lines = await gateway.bridge.run(look)
    except NotFound as error:
        raise NotFound(f"no run {id!r}. It may have been deleted, or the address is incomplete.") from error
    promise = tree.root.promise
    if promise.is_blocking:
        raise web.HTTPSeeOther(f"/r/{quote(promise.id, safe=':')}")
    if promise.id != id:
        raise web.HTTPSeeOther(f"/runs/{quote(promise.id, safe=':')}")
    return page(
        request,
        "run.html",
        run=tree.run,
        call=promise.call,
        started_by=headers_of(promise.param).get("hitl:by"),
        lines=lines,
        retries=retry_text(tree.root.retries) if tree.root.retries and not tree.run.ended else None,
        more=tree.more,
        can_cancel=not tree.run.ended and "start" in visitor.actor.may,
    )


async def _confirm_cancel(request: Request) -> web.Response:
    """Ask to confirm that a run is canceled. Changes nothing."""
    return await _show_cancel(request, gateway_of(request).access.visitor(request, "start"))


async def _show_cancel(
    request: Request, visitor: Visitor, error: HttpError | None = None, reason: str = ""
) -> web.Response:
    """Show the form that cancels a run; after a failure with the error and the reason that was typed."""
    gateway, id = gateway_of(request), request.match_info["id"]
    run = await gateway.bridge.run(lambda client: Runs(client, visitor.actor).to_cancel(id))
    return page(
        request,
        "cancel.html",
        status=error.status if error else 200,
        run=run,
        failed=error,
        code=error and error.code,
        reason=reason,
        kept=gateway.access.keep_mark(visitor.person, id),
    )


async def _take_cancel(request: Request, visitor: Visitor, form: Any) -> web.Response:
    """Cancel a run, and redirect to its page."""
    id = request.match_info["id"]
    reason = form_text(form, "reason").strip() or None
    await gateway_of(request).bridge.run(lambda client: Runs(client, visitor.actor).cancel(id, reason))
    raise web.HTTPSeeOther(_address_of(request))


async def _stale_cancel(request: Request, visitor: Visitor, form: Any, error: HttpError) -> web.Response:
    """Show the form that cancels a run again."""
    own = gateway_of(request).access.is_keep_mark(
        form_text(form, "kept"), visitor.person, request.match_info["id"]
    )
    return await _show_cancel(request, visitor, error, form_text(form, "reason").strip() if own else "")


def _address_of(request: Request) -> str:
    """Return the address of the page of a request's run."""
    return f"/runs/{quote(request.match_info['id'], safe=':')}"


def _lines(root: RunStep, now: int) -> list[_Line]:
    """Return the steps of a run, each before those inside it."""
    found: list[_Line] = []
    left = [(0, child, root) for child in reversed(root.children)]
    while left:
        depth, node, parent = left.pop()
        step = step_summary(node, now)
        until = sleeps_until(node, parent.children)
        kind = KIND_WORDS.get(step.kind, step.kind)
        found.append(_Line(step=step, kind=kind, until=until, depth=min(depth, DEEPEST), said=_said_in(step)))
        if node.kind != "notice":  # the request's page shows its deliveries
            left += [(depth + 1, child, node) for child in reversed(node.children)]
    return found


def _said_in(step: StepSummary) -> str | None:
    """Return the shortened result of a step; None for a plain approval, which its state shows."""
    if not step.said or (step.kind == "person" and step.result is True):
        return None
    text = printable(step.said)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


ROUTES = [
    web.get("/runs", _index),
    web.get("/runs/{id}", _show),
    web.get("/runs/{id}/cancel", _confirm_cancel),
    form_route(
        "/runs/{id}/cancel",
        _take_cancel,
        "start",
        kept_for=lambda request: f"{_address_of(request)}/cancel",
        stale=_stale_cancel,
    ),
]
