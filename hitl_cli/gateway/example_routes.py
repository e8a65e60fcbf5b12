"""The routes that readers of the pattern expect: start by an id, unblock by a link, verify an e-mail address.

Their answers are as short as its programs print them: `{"message": …}`, and `{"error": …}` where something
is wrong. /api/v1 says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct

from hitl_cli.builtin import verification_api
from hitl_cli.errors import BadInput, BadJson, RunFailed
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox.resolve import find_exactly
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.runs import Runs
from hitl_cli.runs.run import GroupName, RunSpec

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.wire import Json
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.decide import DecisionResult
    from hitl_cli.runs.run import Run

PURPOSES = ("Purpose", "Sec-Purpose", "X-Purpose", "X-Moz")
AHEAD = ("prefetch", "prerender", "preview")
"""The headers by which a browser says that it asks before anybody has clicked, and what it says in them."""

OWN_SITE = ("none", "same-origin")
"""What `Sec-Fetch-Site` says where a person typed the address, or one of our pages has the link."""


class _StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /start-workflow` is sent."""

    workflow_id: str | None = None
    workflow: str | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] = {}
    group: GroupName | None = None


class _EmailBody(Struct, frozen=True, kw_only=True):
    """What `POST /start` and `POST /confirm` are sent."""

    email: str | None = None


async def _start_workflow(request: Request) -> web.Response:
    """Start a run, or find the one that was started before; say what it returned once it has ended."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "start")
    body = await _read_body(request, _StartBody)
    if not body.workflow_id:
        raise BadInput("workflow_id is required")
    spec = RunSpec(
        id=body.workflow_id,
        workflow=body.workflow or gateway.options.workflow,
        args=UNSET if body.args is None else body.args,
        kwargs=body.kwargs,
    )
    group = body.group or gateway.options.group
    started = await gateway.bridge.run(lambda client: Runs(client, visitor.actor).start(spec, group=group))
    if started.run.ended:
        return json_answer({"message": _result_of(started.run)})
    return json_answer({"message": f"workflow {spec.id} started"})


def _result_of(run: Run) -> Json:
    """Return what a run that has ended returned. Raises RunFailed if that is nothing."""
    if run.state != "completed":
        raise RunFailed(f"workflow {run.id} {run.state}: {run.error}")
    return run.result


async def _unblock_workflow(request: Request) -> web.Response:
    """Approve what a promise asks, where a plain link may do that; else show its page."""
    gateway = gateway_of(request)
    id = request.query.get("promise_id", "")
    if not id:
        raise BadInput("promise_id is required")
    if any(request.headers.get(name, "").lower().startswith(AHEAD) for name in PURPOSES):
        raise HttpError(503, "this is done once somebody follows the link, and not ahead of that.")
    plain = gateway.access.open or gateway.options.plain_links
    if not plain or request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITE:
        raise web.HTTPSeeOther(f"/r/{quote(id, safe='')}")
    visitor = gateway.access.visitor(request, "decide")
    decided = await gateway.inbox(visitor.actor, lambda inbox: _unblock(inbox, id))
    return json_answer({"message": _unblocked(decided)})


def _unblock(inbox: Inbox, id: str) -> DecisionResult:
    """Approve the request that has exactly this id: a link must not come to mean another one later."""
    return inbox.decide(find_exactly(inbox.client, id), DecisionInput(verdict="approve"))


def _unblocked(decided: DecisionResult) -> str:
    """Return what came of an approval."""
    if decided.settled or decided.votes is None:
        return "workflow unblocked"
    return f"approved by {decided.votes.leading} of {decided.approvals}"


async def _start_verification(request: Request) -> web.Response:
    """Start the verification of an e-mail address."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "start")
    body = await _read_body(request, _EmailBody)
    if not body.email:
        raise BadInput("email is required")
    group = gateway.options.group
    started = await gateway.bridge.run(verification_api.start, visitor.actor, body.email, group=group)
    if started.run.ended:
        _result_of(started.run)
    return json_answer({"result": "workflow started"})


async def _confirm_address(request: Request) -> web.Response:
    """Confirm an e-mail address that is being verified."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, "decide")
    body = await _read_body(request, _EmailBody)
    if not body.email:
        raise BadInput("email param is required")
    await gateway.bridge.run(verification_api.confirm, visitor.actor, body.email)
    return json_answer({"message": f"Email {verification_api.normal_address(body.email)} confirmed."})


async def _read_body[T](request: Request, kind: type[T]) -> T:
    """Return the JSON object that was sent; nothing at all is an empty one. Raises BadInput.

    Any other kind of content is refused: a form on another site can send it unasked.
    """
    raw = await request.read()
    if not raw.strip():
        raw = b"{}"
    elif request.content_type != "application/json":
        raise BadInput("send JSON, as Content-Type: application/json.")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadJson(f"this is not what can be sent here: {error}.") from error


ROUTES = [
    web.post("/start-workflow", _start_workflow),
    web.get("/unblock-workflow", _unblock_workflow, allow_head=False),
    web.post("/start", _start_verification),
    web.post("/confirm", _confirm_address),
]
