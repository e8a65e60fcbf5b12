"""The routes of Resonate's examples: start a run, unblock it with a link, verify an e-mail address.

Their responses are as short as in the examples: `{"message": …}`, or `{"error": …}`. /api/v1 returns more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct

from hitl_cli.builtin import verification_api
from hitl_cli.errors import BadInput, BadJson, RunFailed
from hitl_cli.format.validation import in_document
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox.resolve import find_exactly
from hitl_cli.inspected import inspected
from hitl_cli.people.sight import Sight
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.runs import Runs
from hitl_cli.runs.run import GroupName, RunSpec

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.client.wire import Json
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.runs.run import Run

PURPOSES = ("Purpose", "Sec-Purpose", "X-Purpose", "X-Moz")
AHEAD = ("prefetch", "prerender", "preview")
"""Headers, and their values, of a browser that loads a page before the user has clicked."""

OWN_SITE = ("none", "same-origin")
"""Values of `Sec-Fetch-Site` for a typed address and for links on our own pages."""


class _StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /start-workflow`."""

    workflow_id: str | None = None
    workflow: str | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] = {}
    group: GroupName | None = None


class _EmailBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /start` and `POST /confirm`."""

    email: str | None = None


async def _start_workflow(request: Request) -> web.Response:
    """Start a run, or find the existing one. Returns the result if the run has ended."""
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
    """Return the result of a run that has ended. Raises RunFailed if it did not complete."""
    if run.state != "completed":
        raise RunFailed(f"workflow {run.id} {run.state}: {run.error}")
    return run.result


async def _unblock_workflow(request: Request) -> web.Response:
    """Approve a request, if plain links are allowed; otherwise redirect to its page."""
    gateway = gateway_of(request)
    id = request.query.get("promise_id", "")
    if not id:
        raise BadInput("promise_id is required")
    if any(request.headers.get(name, "").lower().startswith(AHEAD) for name in PURPOSES):
        raise HttpError(503, "this link cannot be prefetched: open it to approve.")
    plain = gateway.access.open or gateway.options.plain_links
    if not plain or request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITE:
        raise web.HTTPSeeOther(f"/r/{quote(id, safe='')}")
    visitor = gateway.access.visitor(request, "decide")
    decided = await gateway.inbox(visitor.actor, lambda inbox: _unblock(inbox, id))
    return json_answer({"message": _unblocked(decided)})


def _unblock(inbox: Inbox, id: str) -> DecisionResult:
    """Approve the request with exactly this id. A prefix could match another request later."""
    return inbox.decide(
        find_exactly(inbox.client, id, Sight(inbox.actor, acting="decide")), DecisionInput(verdict="approve")
    )


def _unblocked(decided: DecisionResult) -> str:
    """Return the message for an approval."""
    if decided.settled or decided.votes is None:
        return "workflow unblocked"
    return f"approved by {decided.so_far}"


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
    """Return the JSON body; an empty body is an empty object. Raises BadInput.

    Other content types are refused, because a form on another site could send them.
    """
    raw = await request.read()
    if not raw.strip():
        raw = b"{}"
    elif request.content_type != "application/json":
        raise BadInput("send JSON with Content-Type: application/json.")
    try:
        return msgspec.json.decode(raw, type=inspected(kind))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadJson(f"invalid body: {in_document(error, kind)}.") from error


ROUTES = [
    web.post("/start-workflow", _start_workflow),
    web.get("/unblock-workflow", _unblock_workflow, allow_head=False),
    web.post("/start", _start_verification),
    web.post("/confirm", _confirm_address),
]
