"""`/api/v1/login/`: what `hitl login` calls without a token. Each route verifies its caller itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from msgspec import Meta, Struct

from hitl_cli.auth import terminal_login
from hitl_cli.auth.terminal_login import LoginRefused
from hitl_cli.errors import BadJson
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.route import read_json
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.views.auth import DeviceDocument, LoginDocument, login_document

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.auth.tokens import Token
    from hitl_cli.client.protocol import Client

EVERY_S = 2
"""How often a terminal may ask whether its code was typed."""

type Secret = Annotated[str, Meta(min_length=1, max_length=10_000)]


class _TokenBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code and its verifier, or the secret of a device; and how long the token shall be valid."""

    code: Secret | None = None
    verifier: Secret = ""
    device_code: Secret | None = None
    expires: str | None = None


async def _device(request: Request) -> web.Response:
    """Begin a login with a typed code."""
    gateway = gateway_of(request)
    gateway.sign_ins.check(request, "too many logins from your network. Try again in 15 minutes.")
    secret, typed = terminal_login.device_code(gateway.clock(), gateway.keys())
    return json_answer(
        DeviceDocument(
            device_code=secret,
            user_code=terminal_login.shown(typed),
            url=f"{gateway.url}{terminal_login.PATH}",
            expires_s=terminal_login.DEVICE_MS // 1_000,
            every_s=EVERY_S,
        )
    )


async def _token(request: Request) -> web.Response:
    """Give a terminal its token, once; 202 until its code was typed."""
    gateway = gateway_of(request)
    if request.content_type != "application/json":
        raise HttpError(415, "send JSON with Content-Type: application/json.")
    body = read_json(await request.read(), _TokenBody)
    life_ms = None if body.expires is None else parse_duration(body.expires)
    keys = gateway.keys()

    def fetch(client: Client) -> tuple[Token, str] | None:
        if body.device_code is not None:
            return terminal_login.token_for_device(client, body.device_code, keys, life_ms=life_ms)
        if body.code is None:
            raise BadJson("invalid body: send code and verifier, or device_code.")
        return terminal_login.token_for_code(client, body.code, body.verifier, keys, life_ms=life_ms)

    try:
        made = await gateway.bridge.run(fetch)
    except LoginRefused:
        gateway.bad_links.check(request, "too many invalid codes from your network. Try again in a minute.")
        raise
    if made is None:
        return json_answer(LoginDocument(), 202)
    return json_answer(login_document(*made), 201)


ROUTES = [
    web.post("/api/v1/login/device", _device),
    web.post("/api/v1/login/token", _token),
]
