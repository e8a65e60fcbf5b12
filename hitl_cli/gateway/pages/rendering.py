"""Rendering pages for a visitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from hitl_cli.gateway.context import gateway_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.web import Request


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
    """Return a page. Templates also get `visitor` (None if unauthenticated) and the `csrf` token of forms."""
    gateway = gateway_of(request)
    visitor = gateway.access.known(request)
    text = gateway.renderer.text(
        template,
        visitor=visitor,
        csrf=gateway.access.csrf(visitor) if visitor else "",
        path=gateway.options.without_base(request.path),
        **context,
    )
    return web.Response(text=text, status=status, content_type="text/html")


def error_page(
    request: Request,
    status: int,
    message: str,
    code: str,
    lines: Sequence[str] = (),
    at: int | None = None,
) -> web.Response:
    """Return the page for an error; `at` is the instant that the message has (HitlError.at)."""
    return page(
        request,
        "error.html",
        status=status,
        wrong=status,
        message=message,
        code=code,
        lines=lines,
        at=at,
    )
