"""Who the sender of a request is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth import tokens
from hitl_cli.gateway.api.route import Call, Route
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.people.actor import PERMISSIONS
from hitl_cli.views.auth import MeDocument, me_document

if TYPE_CHECKING:
    from aiohttp import web


async def _show_me(call: Call) -> web.Response:
    """Return who you are, with which permissions, and until when your token is valid."""
    token = await call.gateway.bearers.token(call.request)
    return json_answer(me_document(call.visitor.actor, token))


async def _revoke(call: Call) -> web.Response:
    """Revoke the token with which this request is sent."""
    token = await call.gateway.bearers.token(call.request)
    if token is None:
        raise HttpError(403, "this request was sent without a token.", code="permission-missing")
    await call.gateway.bridge.run(tokens.revoke, token.id, by=call.visitor.person)
    call.gateway.bearers.forget()
    return json_answer(me_document(call.visitor.actor, token))


TABLE = [
    Route(
        method="GET",
        path="/api/v1/me",
        handle=_show_me,
        needs=PERMISSIONS,
        summary="Show who you are.",
        answers={200: MeDocument},
    ),
    Route(
        method="DELETE",
        path="/api/v1/me/token",
        handle=_revoke,
        needs=PERMISSIONS,
        summary="Revoke the token of this request.",
        answers={200: MeDocument},
    ),
]
