"""`hitl login`, `logout` and `whoami`: act as a person at a gateway, from this machine."""

from __future__ import annotations

import secrets
import socket
import time
import webbrowser
from datetime import datetime
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from hitl_cli.auth import logins, terminal_login
from hitl_cli.auth.logins import Login
from hitl_cli.cli.context import CommandContext, read_stdin
from hitl_cli.cli.options import AsJson, argument, flag, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.client.gateway_api import GatewayApi
from hitl_cli.engine.http.hosts import is_loopback
from hitl_cli.errors import BadUsage, HitlError, NotDone, NotFound, TimedOut, Unreachable
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local
from hitl_cli.people.gateway_file import is_place
from hitl_cli.settings import checked_token
from hitl_cli.views.auth import DeviceDocument, LoginDocument, MeDocument

if TYPE_CHECKING:
    from typing import Any

PATIENCE_S = 600.0
"""How long a person may take in the browser."""

LONGEST_TOKEN = 1_000

Gateway = Annotated[
    str | None, argument("[URL]", "URL of the gateway. Default: the only one that you are signed in to.")
]


def login(
    gateway: Annotated[str, argument("URL", "URL of the gateway, e.g. https://hitl.example.org.")],
    device: Annotated[bool, flag("Show a code to type in a browser on another machine.", "--device")] = False,
    token: Annotated[
        str | None,
        value("-", "Read a token of `hitl token create` from stdin, instead of opening a browser."),
    ] = None,
    expires: Annotated[
        str | None, value("DURATION", "How long to stay signed in, at most. Default: as the gateway allows.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign in to a gateway. Then commands with `-S URL` act as you there."""
    url = _checked(gateway)
    if expires is not None:
        parse_duration(expires)
    if token is not None:
        if token != "-" or device or expires:  # noqa: S105
            raise BadUsage("--token reads stdin: write --token -, without --device and --expires.")
        text = checked_token(read_stdin(LONGEST_TOKEN), "stdin")
    else:
        text = _by_device(url, expires) if device else _by_browser(url, expires)
    me = GatewayApi(url, text).send("GET", "/me", MeDocument)
    where = logins.keep(Login(gateway=url, person=me.person, expires_at=me.expires_at), text)
    if as_json:
        print_json(_document(url, me))
        return
    print(printable(f"Signed in at {url} as {me.person}{_until(me.expires_at)}"))
    note(f"The token is in {where}. Try: hitl pending --mine -S {url}")


def logout(gateway: Gateway = None) -> None:
    """Sign out of a gateway: revoke the token there, and forget it here."""
    known = _known(gateway)
    text = logins.token_of(known)
    logins.forget(known)
    try:
        if text is not None:
            GatewayApi(known.gateway, text).send("DELETE", "/me/token", MeDocument)
    except Unreachable as error:
        raise Unreachable(
            f"{error} You are signed out here, but the token stays valid"
            f"{_until(known.expires_at)}: revoke it with `hitl token revoke` on the server."
        ) from error
    except HitlError as error:
        if error.code != "token-refused":  # it was already revoked or has expired
            raise
    print(printable(f"Signed out of {known.gateway}"))


def whoami(ctx: CommandContext, gateway: Gateway = None, as_json: AsJson = False) -> None:
    """Show who you are signed in as at a gateway, and until when."""
    if gateway is not None and ctx.given_server is not None:
        raise BadUsage("name the gateway once, with -S or as the argument.")
    named = gateway or ctx.given_server
    own = token = ctx.settings.gateway_token(ctx.given_token)  # commands use it before that of the login
    if own is not None and named is not None:
        url = _checked(named)
    else:
        known = _known(named)
        url, token = known.gateway, own or logins.token_of(known)
    me = GatewayApi(url, token, program=own is not None).send("GET", "/me", MeDocument)
    if as_json:
        print_json(_document(url, me))
        return
    print(printable(f"{me.person} at {url}, may {', '.join(me.can)}{_until(me.expires_at)}"))


def _document(url: str, me: MeDocument) -> dict[str, Any]:
    """Return who is signed in, as JSON."""
    return {"gateway": url, "as": me.person, "can": me.can, "token": me.token, "expires_at": me.expires_at}


def _until(expires_at: str | None) -> str:
    return "" if expires_at is None else f" until {local(_ms(expires_at))}"


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1_000)


def _checked(gateway: str) -> str:
    """Return the URL of a gateway. Raises BadUsage."""
    url = gateway.rstrip("/")
    if not is_place(url):
        raise BadUsage(f"{printable(gateway)!r} is not the URL of a gateway: write https://hitl.example.org.")
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise BadUsage(f"{url} would send your token unprotected: use https://.")
    return url


def _known(gateway: str | None) -> Login:
    """Return the login at a gateway, or the only one. Raises NotFound, BadUsage."""
    if gateway is not None:
        found = logins.login_at(gateway)
        if found is None:
            raise NotFound(f"you are not signed in at {printable(gateway)}: run hitl login {gateway}")
        return found
    every = logins.listed()
    if not every:
        raise NotFound("you are not signed in to any gateway: run hitl login https://hitl.example.org")
    if len(every) > 1:
        names = " or ".join(one.gateway for one in every)
        raise BadUsage(f"you are signed in to several gateways: name {names}.")
    return every[0]


def _by_browser(url: str, expires: str | None) -> str:
    """Return a token, once the person has allowed it in this machine's browser. Raises NotDone, TimedOut."""
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    with _Loopback(state) as back:
        asked = {
            "port": back.port,
            "challenge": terminal_login.challenge_of(verifier),
            "state": state,
            "name": socket.gethostname(),
        }
        page = f"{url}{terminal_login.PATH}?{urlencode(asked)}"
        note("Continue in your browser:", page)
        note("Without a browser on this machine, run: hitl login --device", url)
        webbrowser.open(page)
        code = back.code()
    body = {"code": code, "verifier": verifier} | ({} if expires is None else {"expires": expires})
    made = GatewayApi(url, None).send("POST", "/login/token", LoginDocument, body=body)
    return _token_in(made)


def _by_device(url: str, expires: str | None) -> str:
    """Return a token, once the person has typed a code in any browser. Raises TimedOut."""
    api = GatewayApi(url, None)
    begun = api.send("POST", "/login/device", DeviceDocument, body={})
    note(f"Open {begun.url} in a browser, sign in, and type this code:")
    note(f"    {begun.user_code}")
    body = {"device_code": begun.device_code} | ({} if expires is None else {"expires": expires})
    end = time.monotonic() + begun.expires_s
    while time.monotonic() < end:
        made = api.send("POST", "/login/token", LoginDocument, body=body)
        if made.token is not None:
            return made.token
        time.sleep(begun.every_s)
    raise TimedOut("nobody typed the code in time. Run `hitl login --device` again.", code="timed-out")


def _token_in(made: LoginDocument) -> str:
    if made.token is None:
        raise Unreachable("the gateway issued no token. Run `hitl login` again.")
    return made.token


class _Loopback:
    """Listens on 127.0.0.1 for the browser that comes back from the gateway."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._came: dict[str, str] = {}
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> int:
        """The port."""
        return self._server.server_port

    def code(self) -> str:
        """Return the code once the browser brings it. Raises NotDone, TimedOut."""
        end = time.monotonic() + PATIENCE_S
        self._server.timeout = 1.0
        while not self._came:
            if time.monotonic() > end:
                raise TimedOut(
                    "nobody signed in within the time allowed. Run `hitl login` again.", code="timed-out"
                )
            self._server.handle_request()
        if "code" not in self._came:
            raise NotDone("canceled in the browser. You are not signed in.")
        return self._came["code"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        waiting = self

        class Handler(BaseHTTPRequestHandler):
            """Accepts one redirect: the one with the `state` that this terminal sent."""

            timeout = 5.0

            def do_GET(self) -> None:
                """Take the code."""
                query = parse_qs(urlsplit(self.path).query)
                said = {name: values[0] for name, values in query.items()}
                mine = secrets.compare_digest(said.get("state", "").encode(), waiting._state.encode())
                if mine and ("code" in said or "error" in said):
                    waiting._came = said
                    done = "code" in said
                    self._say(200, "Signed in. You can close this page." if done else "Canceled.")
                else:
                    self._say(404, "This is not the sign-in that `hitl login` is waiting for.")

            def _say(self, status: int, text: str) -> None:
                raw = f"<!doctype html><title>hitl</title><p>{escape(text)}</p>".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Log nothing: the path has the code."""

        return Handler
