"""Fixtures: `hitl gateway` in a process of its own, and plain clients of it."""

from __future__ import annotations

import html
import http.client
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest
from msgspec import Struct

from tests.conftest import HITL, PATIENCE_S, Hitl, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gateway.browser import Browser, Visit


class Reply(Struct, frozen=True):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """What the page says, without its tags, on one line."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    @property
    def links(self) -> list[str]:
        """Where the page leads."""
        return [html.unescape(link) for link in re.findall(r'<a [^>]*href="([^"]*)"', self.text)]

    @property
    def csrf(self) -> str:
        """What protects the page's form."""
        return self.text.partition('name="csrf" value="')[2].partition('"')[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess(WorkerProcess):
    """A `hitl gateway` in a process of its own."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.said("gateway for").split(" on ")[1].split()[0]

    def ask(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request, with JSON or a form, follow nothing, and return what is answered."""
        body, sent = b"", dict(headers or {})
        if data is not None:
            body = data if isinstance(data, bytes) else msgspec.json.encode(data)
            sent.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body=body or None, headers=sent)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        """Get a page as a browser asks for it."""
        return self.ask("GET", path, headers={"Accept": "text/html", **headers})

    def post(self, path: str, data: Any = None, **headers: str) -> Reply:
        """Post JSON."""
        return self.ask("POST", path, data=data, headers=headers)


def get_url(url: str, **headers: str) -> Reply:
    """Get a URL of anything that serves."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        path = f"{parts.path or '/'}?{parts.query}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


type StartGateway = Callable[..., GatewayProcess]


def begin_gateway(hitl: Hitl, *args: str, env: Mapping[str, str] | None = None) -> GatewayProcess:
    """Start a gateway on a free port, and wait until it serves. Whoever calls this ends it."""
    command = [HITL, "gateway", "--port", "0", *args]
    gateway = GatewayProcess(command, {**hitl.env, **(env or {})}, hitl.folder)
    gateway.said("gateway for")
    return gateway


@pytest.fixture
def start_gateway(hitl: Hitl) -> Iterator[StartGateway]:
    """Start gateways with options, each on a free port; they end with the test."""
    started: list[GatewayProcess] = []

    def start(*args: str, env: Mapping[str, str] | None = None) -> GatewayProcess:
        gateway = begin_gateway(hitl, *args, env=env)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.clear_away()


@pytest.fixture
def gateway(start_gateway: StartGateway) -> GatewayProcess:
    """A gateway on this machine, without sign-in."""
    return start_gateway()


type OpenVisit = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[OpenVisit]:
    """Open browsers on a gateway; whatever they complain of fails the test."""
    with chromium.visits() as visit:
        yield visit


@pytest.fixture(scope="module")
def shared_hitl(tmp_path_factory: pytest.TempPathFactory) -> Hitl:
    """The command on a database that the tests of a module share: each must have ids of its own."""
    return Hitl(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def shared_gateway(shared_hitl: Hitl) -> Iterator[GatewayProcess]:
    """A gateway without sign-in that the tests of a module share."""
    process = GatewayProcess([HITL, "gateway", "--port", "0"], shared_hitl.env, shared_hitl.folder)
    process.said("gateway for")
    yield process
    process.clear_away()
