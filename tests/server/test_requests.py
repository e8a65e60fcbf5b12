"""POST /: whatever is sent, the answer is the protocol's, and the server lives on."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hitl_cli.engine.http.app import OVERSIZED_MAX
from hitl_cli.engine.machine import OFFER_RETRY_MS
from hitl_cli.engine.server import DEBUG, RULES
from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import PATIENCE_S, wait_until
from tests.server.conftest import EXTERNAL, LIFE_MS, TARGETED, envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import Served

DEEP = 100_000
MALFORMED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"{}",
    b'{"kind": 1}',
    b'{"kind": "promise.get", "head": [], "data": {}}',
    b'{"kind": "promise.get", "data": []}',
    b'{"kind": "promise.get", "data": {"id": 1}}',
    b'{"kind": "promise.get", "data": {"id": ""}}',
    b'{"kind": "promise.get", "data": {"id": "a\\u0000b"}}',
    b'{"kind": "promise.get", "data": {"id": "\\ud800"}}',
    b'{"kind": "promise.get", "data": {"id": "\xff"}}',
    b'{"kind": "promise.nothing", "data": {}}',
    b'{"kind": "' + b"x" * 10_000 + b'", "data": {}}',
    b'{"kind": "promise.create", "data": {"id": "x", "timeoutAt": 1e400}}',
    b'{"kind": "promise.create", "data": {"id": "x", "timeoutAt": 99999999999999999999999999}}',
    b'{"kind": "promise.create", "data": {"id": "x", "timeoutAt": -1}}',
    b'{"kind": "promise.search", "data": {"limit": 0}}',
    b"[" * DEEP,
    b'{"kind": "promise.get", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"kind": "promise.get", "data": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    b"\xff\xfe{\x00}\x00",
]

SHARED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def test_the_http_status_is_the_answers(served: Served) -> None:
    assert served.send("promise.get", {"id": "p"})[0] == 404
    assert served.create("p", EXTERNAL)["state"] == "pending"
    assert served.send("promise.get", {"id": "p"})[0] == 200
    assert served.send("task.acquire", {"id": "p", "version": 0, "pid": "w", "ttl": 1})[0] == 404


def test_what_is_malformed_is_a_400_that_says_so(served: Served) -> None:
    for body in MALFORMED:
        status, answer = served.post(body)
        assert (status, answer["head"]["status"]) == (400, 400), body[:80]
        assert answer["data"]
        assert isinstance(answer["data"], str)


def test_a_body_that_is_too_large_is_refused_and_one_that_is_not_is_taken(served: Served) -> None:
    def sized(size: int) -> bytes:
        data = {"id": f"p{size}", "timeoutAt": now_ms() + LIFE_MS, "padding": ""}
        data["padding"] = "x" * (size - len(envelope("promise.create", data)))
        return envelope("promise.create", data)

    assert served.post(sized(OVERSIZED_MAX - 1))[0] == 200
    status, answer = served.post(sized(OVERSIZED_MAX + 1))
    assert (status, answer["head"]["status"]) == (413, 400)
    assert isinstance(answer["data"], str)
    assert served.send("promise.get", {"id": "p"})[0] == 404


def test_a_body_that_says_it_is_compressed_is_not_unpacked(served: Served) -> None:
    assert served.post(b"\x1f\x8b", {"Content-Encoding": "gzip"})[0] == 400


def test_other_paths(served: Served) -> None:
    for method, path, status in (
        ("GET", "/", 405),
        ("PUT", "/", 405),
        ("POST", "/poll/g/i", 405),
        ("GET", "/nothing", 404),
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("HEAD", "/health", 200),
        ("GET", "/metrics", 200),
    ):
        assert served.raw(method, path)[0] == status, (method, path)


@pytest.mark.parametrize(
    "head",
    [
        b"GARBAGE\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00",
    ],
)
def test_what_is_not_http_is_refused(served: Served, head: bytes) -> None:
    host, _, port = served.netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert answer == b"" or b" 400 " in answer.splitlines()[0]
    assert served.raw("GET", "/health")[0] == 200


def test_a_request_that_does_not_arrive_whole_holds_up_nobody(served: Served) -> None:
    host, _, port = served.netloc.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {served.netloc}\r\nContent-Length: 100\r\n\r\n{{".encode()
        )
        assert served.send("promise.get", {"id": "p"})[0] == 404


def test_requests_are_counted_by_kind_and_status_and_unknown_kinds_as_one(served: Served) -> None:
    for _ in range(3):
        served.send("promise.get", {"id": "p"})
    for n in range(3):
        served.send(f"nothing.{n}", {})
    assert served.metric('resonate_request_total{kind="promise.get",status="404"}') == 3
    assert served.metric('resonate_request_total{kind="other",status="400"}') == 3
    assert served.metric('resonate_request_duration_seconds_count{kind="promise.get"}') == 3


def test_debug_requests_take_a_server_that_allows_them(serve: Callable[..., Served]) -> None:
    plain, debugging = serve(), serve("--debug")
    assert plain.send("debug.start", {})[0] == 403
    assert debugging.send("debug.start", {})[0] == 200
    reader = debugging.reader()
    for served in (plain, debugging):
        served.create(f"t-{served.netloc}")
    assert debugging.send("promise.get", {"id": "p"}, {"resonate:debug_time": 5})[0] == 404
    assert reader.messages == []
    assert debugging.send("debug.stop", {})[0] == 200
    debugging.create("last")
    wait_until(lambda: len(reader.messages) == 3)


def test_what_a_dated_request_offers_is_sent_at_once(serve: Callable[..., Served]) -> None:
    debugging = serve("--debug")
    reader = debugging.reader()
    debugging.create("t")
    wait_until(lambda: reader.tasks() == [("t", 0)])
    since = time.monotonic()
    for n in range(2):
        data = {"id": f"dated{n}", "timeoutAt": now_ms() + LIFE_MS, "tags": TARGETED}
        assert debugging.send("promise.create", data, {"resonate:debug_time": now_ms()})[0] == 200
    wait_until(lambda: len(reader.tasks()) == 3)
    assert time.monotonic() - since < OFFER_RETRY_MS / 2_000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [
        *("id", "timeoutAt", "param", "tags", "state", "value", "awaited", "awaiter", "address", "version"),
        *("pid", "ttl", "action", "actions", "tasks", "limit", "cursor", "cron", "promiseId", "data"),
    ]
)
plausible = st.sampled_from(
    [
        "p",
        "t",
        "t:1",
        0,
        1,
        2**53,
        2**62,
        2**63,
        2**64,
        -1,
        "resolved",
        "pending",
        "poll://any@g",
        EXTERNAL,
        {},
        [],
    ]
)
data = st.dictionaries(names, plausible | anything | st.dictionaries(names, plausible), max_size=6)


@SHARED
@given(kind=st.sampled_from(sorted(RULES) + sorted(DEBUG)) | st.text(max_size=12), data=data | anything)
@example(kind="promise.create", data={"id": "\ud800", "timeoutAt": 1})
@example(kind="task.acquire", data={"id": "t", "version": 2**53, "pid": "", "ttl": 2**62})
def test_any_request_gets_the_protocols_answer(served: Served, kind: str, data: Any) -> None:
    status, answer = served.post(json.dumps({"kind": kind, "head": {"corrId": "c"}, "data": data}).encode())
    assert status == answer["head"]["status"]
    assert status in (200, 300, 400, 403, 404, 409, 422)
    assert status in (200, 300) or isinstance(answer["data"], str)


@SHARED
@given(
    body=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_get_the_protocols_answer(served: Served, body: bytes) -> None:
    status, answer = served.post(body)
    assert status == answer["head"]["status"] == 400
    assert isinstance(answer["data"], str)
