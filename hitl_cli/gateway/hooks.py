"""Decisions from other systems: `POST /hooks/NAME`, signed with the secret of `[hooks.NAME]`.

The sender is trusted to name the person. Their permissions are checked as in every front end. A message that
is sent again is the same decision (docs/guides/hooks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from hitl_cli.auth.signatures import as_sent, verified_id, verify_slack
from hitl_cli.client.wire import Verdict  # noqa: TC001 - msgspec reads the annotation
from hitl_cli.errors import BadJson, NotFound
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.validation import in_document
from hitl_cli.gateway.auth.access import PERSON
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.slack_actions import answer_click
from hitl_cli.inspected import inspected
from hitl_cli.people.contacts import signing_key
from hitl_cli.people.idempotency import IdempotencyMark
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.views.decision import hook_result_document

if TYPE_CHECKING:
    from aiohttp.web import Request


BODY_MAX = 1_200_000
"""Bytes of a body; an answer's data may have a million."""


class _HookAnswer(DecisionInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body: a decision on a request (its id or key), and the person who made it."""

    verdict: Verdict
    request: str
    by: str

    @property
    def decision(self) -> DecisionInput:
        """The decision, without request and person."""
        parts = {name: getattr(self, name) for name in DecisionInput.__struct_fields__}
        return DecisionInput(**parts)


async def _receive(request: Request) -> web.Response:
    """Record a decision that a configured sender has signed. Raises BadSignature."""
    gateway = gateway_of(request)
    name = request.match_info["name"]
    hook = gateway.options.people.hooks.get(name)
    if hook is None:
        raise NotFound(f"no hook {name!r} in the settings: add [hooks.{name}] secret = …")
    if (request.content_length or 0) > BODY_MAX:
        raise HttpError(413, f"the body is too large: at most {BODY_MAX:,} bytes.")
    body = await request.read()
    now_s = gateway.clock() // 1_000
    if hook.kind == "slack":
        verify_slack(hook.secret.encode(), request.headers, body, now_s)
        return await answer_click(request, name, body, _mark_of(name, body))
    sent = verified_id(signing_key(hook.secret), request.headers, body, now_s)
    said = _read_answer(body)
    actor = gateway.access.actor(said.by, f"hook:{name}", PERSON)
    mark = _mark_of(name, as_sent(sent), body)
    decided = await gateway.inbox(
        actor, lambda inbox: inbox.decide(said.request, said.decision, whole=True, mark=mark)
    )
    return json_answer(hook_result_document(decided))


def _read_answer(body: bytes) -> _HookAnswer:
    """Return the body. Raises BadInput."""
    try:
        return msgspec.json.decode(body, type=inspected(_HookAnswer))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadJson(f"invalid body: {in_document(error, _HookAnswer)}.") from error


def _mark_of(*parts: str | bytes) -> IdempotencyMark:
    """Return the idempotency mark of a message, which is the same each time it is sent."""
    hashes = "".join(stable_id(part, 64) for part in parts)
    return IdempotencyMark(stable_id(bytes.fromhex(hashes), 32), "")


ROUTES = [web.post("/hooks/{name}", _receive)]
