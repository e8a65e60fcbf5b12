"""Clients that are slow, too big or ambiguous: each is refused, and the others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import zlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from hitl_cli.gateway import app, request_body
from hitl_cli.gateway.context import Gateway
from hitl_cli.gateway.options import Options
from tests.conftest import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess

SLOW_ONES = 300

LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = b"POST /start-workflow HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=PATIENCE_S)


def say(url: str, *what: bytes) -> bytes:
    """Send bytes as they are, and return all that comes until the connection is closed."""
    with connect(url) as connection:
        heard = b""
        with contextlib.suppress(ConnectionError):  # what was sent after the end was not wanted
            for part in what:
                connection.sendall(part)
            while part := connection.recv(65_536):
                heard += part
        return heard


def statuses(heard: bytes) -> list[int]:
    return [int(line.split()[1]) for line in heard.split(b"\r\n") if line.startswith(b"HTTP/1.")]


@pytest.mark.parametrize(
    "ambiguous",
    [
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
        HEAD + b"Content-Length: +4\r\n\r\nabcd",
        HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        HEAD + b"X-Folded: one\r\n two\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a_request_whose_end_is_ambiguous_is_refused_and_what_follows_it_is_not_served(
    shared_gateway: GatewayProcess, ambiguous: bytes
) -> None:
    heard = say(shared_gateway.url, ambiguous, LAST)
    assert statuses(heard)[:1] != [200]
    assert 200 not in statuses(heard)
    assert shared_gateway.get("/health").status == 200


@pytest.mark.parametrize(
    "big",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
)
def test_a_head_that_is_too_big_is_refused(shared_gateway: GatewayProcess, big: bytes) -> None:
    [status, *_] = statuses(say(shared_gateway.url, big))
    assert status in (400, 414, 431)
    assert shared_gateway.get("/health").status == 200


def test_a_body_that_is_too_big_is_refused_said_before_or_not(shared_gateway: GatewayProcess) -> None:
    big = b"a" * (request_body.BODY_MAX + 1)
    assert shared_gateway.ask("POST", "/nowhere", data=big).status == 413
    chunk = b"%x\r\n%s\r\n" % (len(big), big)
    with connect(shared_gateway.url) as connection:
        connection.sendall(HEAD.replace(b"start-workflow", b"nowhere"))
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")
        assert b" 413 " in connection.recv(100)
    assert shared_gateway.get("/health").status == 200


def test_a_form_with_files_is_refused(shared_gateway: GatewayProcess) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert shared_gateway.ask("POST", "/nowhere", data=b"--x--", headers=kind).status == 415


def test_what_is_compressed_is_refused_before_it_is_unpacked(shared_gateway: GatewayProcess) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "deflate"}
    assert (
        shared_gateway.ask("POST", "/sign-in", data=zlib.compress(bytes(10_000_000)), headers=kind).status
        == 415
    )
    assert shared_gateway.ask("POST", "/sign-in", data=b"not packed", headers=kind).status == 415


@pytest.mark.parametrize(
    "odd",
    [
        (b"POST /start HTTP/1.1", b"Origin: http://[", b"Content-Length: 0"),
        (b"GET / HTTP/1.1", b"Host: ["),
        (
            b"POST /sign-in HTTP/1.1",
            b"Content-Type: application/x-www-form-urlencoded; charset=unicode_escape",
            b"Content-Length: 11",
            b"",
            rb"csrf=\ud800",
        ),
    ],
)
def test_a_head_that_makes_no_sense_is_no_fault_of_ours(
    shared_gateway: GatewayProcess, odd: tuple[bytes, ...]
) -> None:
    host = () if any(b"Host" in line for line in odd) else (b"Host: localhost",)
    lines = (odd[0], *host, b"Connection: close", *odd[1:], *(() if b"" in odd else (b"", b"")))
    [status] = statuses(say(shared_gateway.url, b"\r\n".join(lines)))
    assert status < 500


def test_those_who_say_nothing_to_its_end_do_not_keep_the_others_waiting(
    shared_gateway: GatewayProcess,
) -> None:
    slow = [connect(shared_gateway.url) for _ in range(SLOW_ONES)]
    try:
        for index, connection in enumerate(slow):
            head = HEAD + (b"Content-Length: 1000\r\n\r\n{" if index % 2 else b"X-Sl")
            connection.sendall(head)
        assert shared_gateway.get("/health").status == 200
        assert shared_gateway.get("/ready").status == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.fixture
def impatient(hitl: Hitl, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway in this process that waits for nobody for long."""
    monkeypatch.setattr(app, "IDLE_S", 0.2)
    monkeypatch.setattr(request_body, "BODY_S", 0.2)
    ready = threading.Event()
    said: list[str] = []
    running: list[tuple[asyncio.AbstractEventLoop, Gateway]] = []

    async def serve() -> None:
        gateway = Gateway(
            Options(server=hitl.url, keys=hitl.folder / "keys", person="ada", host="127.0.0.1", port=0)
        )
        running.append((asyncio.get_running_loop(), gateway))

        def serving(url: str) -> None:
            said.append(url)
            ready.set()

        await app.run(gateway, serving)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(PATIENCE_S)
    yield said[0]
    loop, gateway = running[0]
    loop.call_soon_threadsafe(gateway.stop)
    thread.join(PATIENCE_S)


def test_a_head_that_does_not_end_is_given_up_on(impatient: str) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        assert connection.recv(1_000) == b""


def test_a_body_that_does_not_come_is_given_up_on(impatient: str) -> None:
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        assert statuses(connection.recv(65_536)) == [408]


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that starts has room for no connection."""
    monkeypatch.setattr(app, "CONNECTIONS_MAX", 0)


@pytest.mark.usefixtures("no_room")
def test_one_connection_more_than_there_is_room_for_is_told_so(impatient: str) -> None:
    assert statuses(say(impatient, LAST)) == [503]
