"""The page where a person lets a terminal act as them: `hitl login` (hitl_cli/auth/terminal_login.py)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web
from msgspec import Struct

from hitl_cli.auth import terminal_login
from hitl_cli.auth.ended import TOKEN_SUBJECT
from hitl_cli.auth.terminal_login import PATH, Grant, LoginRefused
from hitl_cli.errors import BadQuery
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.pages.form_route import form_route
from hitl_cli.gateway.pages.queries import form_text
from hitl_cli.gateway.pages.rendering import page
from hitl_cli.gateway.response_headers import HEADERS
from hitl_cli.people.actor import PERMISSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web import Request

    from hitl_cli.gateway.auth.access import Visitor
    from hitl_cli.gateway.context import Gateway

TOKEN_MS = 30 * 86_400_000
"""Longest validity of a terminal's token, unless the settings of the sign-in provider say another."""

LONGEST_NAME = 60

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_STATE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_PORT = re.compile(r"[1-9][0-9]{3,4}")
LAST_PORT = 65_535


class _Asked(Struct, frozen=True, kw_only=True):
    """The request of a terminal on the same machine."""

    port: str
    challenge: str
    state: str
    name: str

    @property
    def place(self) -> str:
        """The address at which it listens."""
        return f"http://127.0.0.1:{self.port}"


async def _show(request: Request) -> web.Response:
    """Show the request of a terminal, or the field for the code that it shows."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, *PERMISSIONS)
    _check_browser(visitor)
    asked = _asked(request.query)
    return _page(request, visitor, asked, until=_until(request, gateway, visitor))


async def _take(request: Request, visitor: Visitor, given: Any) -> web.Response:
    """Allow or refuse the terminal."""
    gateway = gateway_of(request)
    _check_browser(visitor)
    asked = _asked({name: text for name, text in given.items() if isinstance(text, str)})
    until = _until(request, gateway, visitor)
    grant = _grant(request, gateway, visitor, until, asked)
    if asked is not None:
        said = {"state": asked.state}
        if form_text(given, "allow"):
            said["code"] = terminal_login.code_for(
                grant, asked.challenge, await gateway.bridge.run(lambda client: client.now()), gateway.keys()
            )
        else:
            said["error"] = "denied"
        back = f"{asked.place}/?{urlencode(said)}"
        return web.Response(status=303, headers=_may_go_to(asked) | {"Location": back})
    typed = terminal_login.read_typed(form_text(given, "code"))
    gateway.bad_links.check(request, "too many codes from your network. Try again in a minute.")
    if typed is None:
        return _page(request, visitor, None, until=until, problem="This is not a code that hitl shows.")
    try:
        await gateway.bridge.run(terminal_login.allow, typed, grant, visitor.via)
    except LoginRefused as error:
        return _page(request, visitor, None, until=until, problem=str(error))
    return page(request, "terminal.html", done=True)


def _check_browser(visitor: Visitor) -> None:
    """Raise HttpError unless it is a person at a browser: a program with a token gets no other from it."""
    if visitor.session is None or visitor.actor.only is not None:
        raise HttpError(403, "open this page in a browser, signed in.", code="permission-missing")


def _asked(given: Mapping[str, str]) -> _Asked | None:
    """Return the request of a terminal on the same machine; None if it is elsewhere. Raises BadQuery."""
    if "port" not in given:
        return None
    port, challenge, state = (given.get(name, "") for name in ("port", "challenge", "state"))
    fits = _PORT.fullmatch(port) and int(port) <= LAST_PORT
    if not (fits and _CHALLENGE.fullmatch(challenge) and _STATE.fullmatch(state)):
        raise BadQuery("this address is incomplete: run `hitl login` again.")
    return _Asked(port=port, challenge=challenge, state=state, name=_name(given.get("name", "")))


def _name(text: str) -> str:
    """Return the name of a terminal, cleaned because it is not trusted."""
    return printable(text.strip())[:LONGEST_NAME] or "a terminal"


def _until(request: Request, gateway: Gateway, visitor: Visitor) -> int:
    """Return the latest expiry of a new token: a session that began with a token gives none beyond it."""
    session = gateway.cookies.session_in(request, gateway.keys(), gateway.clock())
    longest = TOKEN_MS
    if visitor.signed_in and session is not None:
        if any(subject.startswith(TOKEN_SUBJECT) for subject in session.subjects):
            return session.ends_at
        oidc = gateway.options.people.oidc
        if oidc is not None and any(subject.startswith("sub:") for subject in session.subjects):
            longest = parse_duration(oidc.login)
    return gateway.clock() + longest


def _grant(request: Request, gateway: Gateway, visitor: Visitor, until: int, asked: _Asked | None) -> Grant:
    """Return the visitor's permission for the terminal: at most what they may do themselves."""
    session = gateway.cookies.session_in(request, gateway.keys(), gateway.clock())
    own = session if visitor.signed_in else None
    return Grant(
        person=visitor.person,
        can=visitor.actor.may,
        until=until,
        name=f"hitl login on {asked.name}" if asked is not None else "hitl login --device",
        groups=() if own is None else own.groups,
        subjects=() if own is None else tuple(one for one in own.subjects if not one.startswith("sid:")),
    )


def _page(
    request: Request, visitor: Visitor, asked: _Asked | None, *, until: int, problem: str = ""
) -> web.Response:
    """Return the page."""
    may = [permission for permission in PERMISSIONS if permission in visitor.actor.may]
    response = page(
        request,
        "terminal.html",
        status=400 if problem else 200,
        asked=asked,
        may=may,
        until=until,
        problem=problem,
        done=False,
    )
    if asked is not None:
        response.headers.update(_may_go_to(asked))
    return response


def _may_go_to(asked: _Asked) -> dict[str, str]:
    """Return the Content-Security-Policy that lets the form redirect to the terminal."""
    policy = HEADERS["Content-Security-Policy"]
    return {
        "Content-Security-Policy": policy.replace("form-action 'self'", f"form-action 'self' {asked.place}")
    }


ROUTES = [web.get(PATH, _show), form_route(PATH, _take, *PERMISSIONS)]
