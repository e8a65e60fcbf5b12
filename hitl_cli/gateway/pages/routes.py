"""The routes of all pages."""

from __future__ import annotations

from hitl_cli.gateway.pages import (
    away,
    history,
    inbox,
    links,
    many,
    passkeys,
    rules,
    runs,
    sign_in,
    stats,
    terminal,
)

ROUTES = [
    *inbox.ROUTES,
    *links.ROUTES,
    *many.ROUTES,
    *sign_in.ROUTES,
    *runs.ROUTES,
    *history.ROUTES,
    *stats.ROUTES,
    *rules.ROUTES,
    *passkeys.ROUTES,
    *away.ROUTES,
    *terminal.ROUTES,
]
