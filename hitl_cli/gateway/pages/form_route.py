"""Routes of forms: what every form that is sent goes through before its page reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hitl_cli.gateway.auth.access import Visitor
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.pages import sign_in
from hitl_cli.gateway.pages.queries import form_text

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.people.actor import Permission

type TakesForm = Callable[[Request, Visitor, Any], Awaitable[web.StreamResponse]]
"""Responds to a visitor's form."""

type ShowsStaleForm = Callable[[Request, Visitor, Any, HttpError], Awaitable[web.StreamResponse]]
"""Responds to a form whose page was loaded before its visitor signed in: with the page and the error."""


def form_route(
    path: str,
    take: TakesForm,
    *any_of: Permission,
    kept_for: Callable[[Request], str] | None = None,
    stale: ShowsStaleForm | None = None,
) -> web.RouteDef:
    """Return the route of a form: `take` responds to visitors with a permission and their own CSRF token.

    `kept_for` returns the page to which a form of an expired session is kept until its person has signed in;
    its pattern is also in `access.KEPT`. `stale` responds to a wrong CSRF token, else an error page does.
    """

    async def answer(request: Request) -> web.StreamResponse:
        access = gateway_of(request).access
        if kept_for is not None and access.known(request) is None:
            return await sign_in.keep(request, kept_for(request))
        return await taken(request, access.visitor(request, *any_of), take, stale)

    return web.post(path, answer)


async def taken(
    request: Request, visitor: Visitor, take: TakesForm, stale: ShowsStaleForm | None = None
) -> web.StreamResponse:
    """Return the response to a visitor's form: that of `take`, if the form has their CSRF token."""
    form = await request.post()
    try:
        gateway_of(request).access.check_csrf(visitor, form_text(form, "csrf"))
    except HttpError as error:
        if stale is None:
            raise
        return await stale(request, visitor, form, error)
    return await take(request, visitor, form)
