"""A gateway in this process, with a clock that the test moves, and browsers that visit it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import threading
import zlib
from collections.abc import Mapping, Sequence
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.auth.links import make, url_of
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.gateway import app
from hitl_cli.gateway.context import Gateway
from hitl_cli.gateway.options import Options
from tests.conftest import PATIENCE_S, Hitl, wait_until

if TYPE_CHECKING:
    from hitl_cli.auth.signing_keys import Keys


def packed(chosen: dict[str, Any]) -> str:
    """Return the requests that the form of a table of many is about, as it carries them."""
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(chosen).encode())).decode()


class Page(Struct, frozen=True):
    """What was answered; `cookies` are the Set-Cookie headers as they came."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    text: str

    @property
    def csrf(self) -> str:
        """What protects the forms of the page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        assert found, self.text
        return found[1]

    @property
    def main(self) -> str:
        """What the page says, without the frame around it."""
        found = re.search(r"<main.*</main>", self.text, re.DOTALL)
        assert found, self.text
        return found[0]

    @property
    def code(self) -> str | None:
        """The code of the error that the page shows."""
        found = re.search(r'data-code="([a-z0-9-]+)"', self.text)
        return found[1] if found else None

    @property
    def heading(self) -> str:
        found = re.search(r"<h1[^>]*>(.*?)</h1>", self.text, re.DOTALL)
        assert found, self.text
        return found[1].strip()


class Visited:
    """A gateway in a thread of this process."""

    def __init__(self, hitl: Hitl, **options: Any) -> None:
        self.ahead_ms = 0
        self.hitl = hitl
        self.options = Options(
            **{
                "server": hitl.url,
                "keys": hitl.database.with_name("hitl.db.keys"),
                "person": "owner",
                "port": 0,
                **options,
            }
        )
        self.gateway: Gateway | None = None
        self._address: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.address = wait_until(lambda: next(iter(self._address), ""))

    def _run(self) -> None:
        """Serve as `asyncio.run` does, which cancels at its end the tasks that libraries have begun."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.gateway = Gateway(self.options, self.now)
        await app.run(self.gateway, self._address.append)

    def now(self) -> int:
        """Return the present, as the test has it."""
        return now_ms() + self.ahead_ms

    @property
    def keys(self) -> Keys:
        return load_keys(self.options.keys, self.now())

    def link(self, request: str, person: str, life_ms: int | None = None) -> str:
        """Return the path of a fresh link."""
        with self.hitl.client() as client:
            made = make(client, request, person, life_ms=life_ms, groups=self.options.directory.members)
        return url_of("", made, self.keys)

    def look_again(self) -> None:
        """Have the gateway ask its server again whether tokens and sessions are valid."""
        assert self.gateway is not None
        self.gateway.endings.forget()
        self.gateway.bearers.forget()

    def stop(self) -> None:
        if self.gateway is not None:
            self._loop.call_soon_threadsafe(self.gateway.stop)
        self._thread.join(PATIENCE_S)


class Browser:
    """Visits a gateway: keeps its cookies, follows nothing."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port
        self.cookies: dict[str, str] = {}

    def ask(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str | list[str]] | None = None,
    ) -> Page:
        """Send a request. A header may be given several times."""
        body = urlencode(form or {}).encode() if method == "POST" else b""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_S)
        given = {"Accept": "text/html", **(headers or {})}
        if self.cookies:
            given.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        try:
            connection.putrequest(method, path, skip_host="Host" in given)
            for name, values in given.items():
                for value in values if isinstance(values, list) else [values]:
                    connection.putheader(name, value.encode())
            if method == "POST":
                connection.putheader("Content-Type", "application/x-www-form-urlencoded")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            set_cookies = tuple(value for name, value in answer.getheaders() if name.lower() == "set-cookie")
            page = Page(answer.status, dict(answer.getheaders()), set_cookies, answer.read().decode())
        finally:
            connection.close()
        self._keep(set_cookies)
        return page

    def _keep(self, set_cookies: tuple[str, ...]) -> None:
        for text in set_cookies:
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    def get(self, path: str, **headers: str | list[str]) -> Page:
        return self.ask("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})

    def post(
        self, path: str, form: Mapping[str, str] | Sequence[tuple[str, str]], **headers: str | list[str]
    ) -> Page:
        return self.ask("POST", path, form, {name.replace("_", "-"): v for name, v in headers.items()})

    def answer(self, path: str, verdict: str = "approve", **fields: str) -> Page:
        """Load a request's page, and send its form."""
        return self.post(path, {"csrf": self.get(path).csrf, "verdict": verdict, **fields})


def all_promises(hitl: Hitl) -> list[Any]:
    """Return everything that the server has, to see that nothing was changed."""
    from hitl_cli.client.protocol import search

    with hitl.client() as client:
        return [msgspec.to_builtins(promise) for promise in search(client)]
