"""The identity of the sender of a request."""

from __future__ import annotations

from hitl_cli.auth import tokens
from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.people.actor import PERMISSIONS
from hitl_cli.views.auth import MeDocument, me_document

routes = Routes()


@routes.get("/me", "Show who you are.", needs=PERMISSIONS)
async def _show_me(call: Call[None, None]) -> MeDocument:
    """Return who you are, with which permissions, and until when your token is valid."""
    token = await call.gateway.bearers.token(call.request)
    return me_document(call.visitor.actor, token)


@routes.delete("/me/token", "Revoke the token of this request.", needs=PERMISSIONS)
async def _revoke(call: Call[None, None]) -> MeDocument:
    """Revoke the token with which this request is sent."""
    token = await call.gateway.bearers.token(call.request)
    if token is None:
        raise HttpError(403, "this request was sent without a token.", code="permission-missing")
    await call.gateway.bridge.run(tokens.revoke, token.id, by=call.visitor.person)
    call.gateway.bearers.forget()
    return me_document(call.visitor.actor, token)
