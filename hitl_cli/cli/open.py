"""`hitl open`: the inbox page in a browser."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.options import argument, value
from hitl_cli.cli.output import note
from hitl_cli.errors import Unreachable
from hitl_cli.people.gateway_file import page_of

PATIENCE_S = 3.0
"""How long to wait for the gateway."""


def open_page(
    ctx: AsPerson,
    id: Annotated[
        str | None,
        argument(
            "[ID]",
            "A request: its id, its key, or its run. Default: the inbox page.",
            complete=complete_promise,
        ),
    ] = None,
    url: Annotated[str | None, value("URL", "URL of the gateway. (HITL_GATEWAY)")] = None,
) -> None:
    """Open the inbox page or one request in a browser, and print its URL."""
    import webbrowser

    settings = ctx.settings
    gateway = settings.gateway(url).value if url else ctx.gateway
    gateway = gateway or settings.gateway().value
    if not _is_gateway(gateway):
        raise Unreachable(f"no gateway answers at {gateway}: start one with `hitl gateway` or `hitl dev`.")
    if id is not None and url is None:
        with suppress(Unreachable), ctx.opened(inbox_of) as (inbox, _):  # the page will look it up
            id = inbox.find(id).id
    page = f"{gateway}/" if id is None else page_of(gateway, id)
    print(page, flush=True)
    if not webbrowser.open(page):
        note("hitl: no browser found: open this URL yourself")


def _is_gateway(url: str) -> bool:
    """Whether a gateway responds at a URL."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(f"{url}/health", timeout=PATIENCE_S) as answer:  # noqa: S310 - from the settings
            return bool(answer.read(8) == b"ok\n")
    except (OSError, ValueError, HTTPException):
        return False
