"""The style sheet, script and icon of the pages."""

from __future__ import annotations

from pathlib import Path
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

_CONTENTS = {name: Path(__file__).with_name("static").joinpath(name).read_bytes() for name in KINDS}
"""Read at the start: a newer version that is installed later has files for other pages."""

AGE = "public, max-age=300"


async def _static(request: Request) -> web.Response:
    """Return a static file."""
    name = request.match_info["name"]
    if name not in KINDS:
        raise web.HTTPNotFound
    return web.Response(
        body=_CONTENTS[name], content_type=KINDS[name], charset="utf-8", headers={"Cache-Control": AGE}
    )


ROUTES = [web.get("/static/{name}", _static)]
