"""The headers of each response, above all those for security."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.gateway.context import gateway_of

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse


HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Default headers of every response."""


async def harden(request: Request, response: StreamResponse) -> None:
    """Add the security headers to a response, and the base path to its redirect."""
    response.headers["Server"] = "hitl"
    if response.headers.get("Location", "").startswith("/"):
        response.headers["Location"] = gateway_of(request).options.base + response.headers["Location"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
