"""The style sheet, script and icon of the pages."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.web import Request

KINDS = {
    "hitl.css": "text/css",
    "hitl.js": "text/javascript",
    "passkeys.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files to serve, with their media types. Nothing else in the folder is served."""

AGE = "public, max-age=300"


async def _static(request: Request) -> web.Response:
    """Return a static file."""
    name = request.match_info["name"]
    if name not in KINDS:
        raise web.HTTPNotFound
    content = (files("hitl_cli.gateway") / "static" / name).read_bytes()
    return web.Response(
        body=content, content_type=KINDS[name], charset="utf-8", headers={"Cache-Control": AGE}
    )


ROUTES = [web.get("/static/{name}", _static)]
