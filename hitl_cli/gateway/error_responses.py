"""Turns errors into HTTP responses.

Under /api/ they are problem details (RFC 9457), for hooks and example routes `{"error": …}`, otherwise a
page.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from hitl_cli.auth.links import LinkInvalid
from hitl_cli.auth.signatures import BadSignature
from hitl_cli.auth.tokens import TokenRefused
from hitl_cli.errors import (
    BadInput,
    Conflict,
    HitlError,
    NotAllowed,
    NotDone,
    NotFound,
    RunFailed,
    TimedOut,
    Unreachable,
    logged,
)
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import CODES, HttpError
from hitl_cli.gateway.oidc.failures import ProviderAway, SignInRefused
from hitl_cli.gateway.pages.rendering import error_page
from hitl_cli.people.idempotency import IdempotencyKeyReused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.web import Request, StreamResponse

logger = logging.getLogger(__name__)

STATUS: Mapping[type[HitlError], int] = {
    BadInput: 400,
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 403,
    TimedOut: 410,
    RunFailed: 409,
    NotDone: 409,
    Unreachable: 503,
    IdempotencyKeyReused: 422,
    TokenRefused: 401,
    BadSignature: 401,
    LinkInvalid: 403,
    SignInRefused: 403,
    ProviderAway: 503,
}

TYPES: Mapping[type[HitlError], str] = {
    kind: f"urn:hitl:problem:{kind.code}"
    for kind in (BadInput, NotFound, Conflict, NotAllowed, TimedOut, IdempotencyKeyReused, Unreachable)
}
"""The `type` of problem details by error class. Their `code` is more specific."""

PERMISSION_MISSING = "permission-missing"
"""This code has no type of its own: the type `not-allowed` is about one request."""

EXAMPLE_ROUTES = ("/start-workflow", "/unblock-workflow", "/start", "/confirm")
"""Paths with errors of the form `{"error": …}`, if the example routes are served."""

HOOKS = "/hooks/"
"""Path with errors of the form `{"error": …, "code": …}`."""

MCP = "/mcp"
"""Path with errors of JSON-RPC."""

PHRASES = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
"""Reason phrases that Python 3.13 has changed."""

AWAY = "the server cannot be reached. Try again later."
"""Shown to unauthenticated clients, to hide the server's address and error."""


@web.middleware
async def answer_failures(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Turn the errors of a handler into responses."""
    try:
        return await handler(request)
    except HttpError as error:
        return _failure(request, error.status, str(error), error, error.headers)
    except HitlError as error:
        if isinstance(error, Unreachable):
            gateway = gateway_of(request)
            if gateway.check.away is None:  # an unreachable server was already logged
                logger.warning("%s %s failed: %s", request.method, shown_path(request), logged(error))
            if gateway.access.known(request) is None:
                error = Unreachable(AWAY)
        return _failure(request, status_of(error), str(error), error)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - a redirect
            raise
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _failure(request, error.status, SAID.get(error.status, error.reason), None, kept)
    except ConnectionError:
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, shown_path(request))
        return _failure(
            request,
            500,
            "unexpected error in the gateway. Check whether anything changed before you try again.",
        )


def status_of(error: HitlError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, HttpError):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def shown_path(request: Request) -> str:
    """Return the path of a request for the log, without the query, tokens of links and control characters.

    Of a path without a route only the beginning is returned, because the rest may contain a token.
    """
    resource = request.match_info.route.resource
    if resource is None:
        first, _, rest = request.path.removeprefix("/").partition("/")
        return printable(f"/{first}/…" if rest else f"/{first}")
    return resource.canonical if "{token}" in resource.canonical else printable(request.path)


SAID = {
    404: "no page at this address.",
    405: "method not allowed here.",
    413: "the request is too large.",
}


def _failure(
    request: Request,
    status: int,
    message: str,
    error: HitlError | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return the response for an error, in the format of its path.

    Raises ConnectionResetError if a response has already begun, so that the client sees that it is
    incomplete.
    """
    code = error.code if error is not None else CODES.get(status, "unexpected-error")
    if request.writer.output_size:
        logger.warning(
            "%s %s failed after the response had begun: %s (code=%s)",
            request.method,
            shown_path(request),
            message,
            code,
            extra={"code": code},
        )
        raise ConnectionResetError
    path = gateway_of(request).options.without_base(request.path)
    if path.startswith("/api/"):
        return _problem(status, message, code, error, headers)
    if path.startswith(EXAMPLE_ROUTES) and gateway_of(request).options.serves_example_routes:
        return json_answer({"error": message}, status, headers)
    if path == MCP:
        problem = {"code": -32000, "message": message, "data": {"code": code}}
        return json_answer({"jsonrpc": "2.0", "id": None, "error": problem}, status, headers)
    if path.startswith(HOOKS):
        return json_answer({"error": message, "code": code}, status, headers)
    response = error_page(
        request, status, message, code, error.lines if error else (), error.at if error else None
    )
    response.headers.update(headers or {})
    return response


def _problem(
    status: int, message: str, code: str, error: HitlError | None, headers: Mapping[str, str] | None
) -> web.Response:
    """Return problem details (RFC 9457)."""
    known = TYPES.items() if code != PERMISSION_MISSING else ()
    document = {
        "type": next((uri for kind, uri in known if isinstance(error, kind)), "about:blank"),
        "title": phrase_of(status),
        "status": status,
        "detail": message,
        "code": code,
    } | ({"lines": list(error.lines)} if error is not None and error.lines else {})
    if isinstance(error, BadInput) and error.problems:
        document["errors"] = [{"path": path, "detail": detail} for path, detail in error.problems]
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status, the same in each version of Python."""
    from http import HTTPStatus

    return PHRASES.get(status) or HTTPStatus(status).phrase


def json_answer(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a JSON response."""
    return web.Response(
        body=msgspec.json.encode(document), status=status, headers=headers, content_type="application/json"
    )
