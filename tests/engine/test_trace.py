"""Traces: requests and responses of all processes of a file, in the order of commits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.errors import StorageFailed
from hitl_cli.engine.server import Server
from hitl_cli.engine.trace import Trace
from tests.engine.conftest import EXTERNAL, START_MS, Clock, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def open_traced(tmp_path: Path) -> Iterator[Callable[[Clock], Server]]:
    """Open the test's file once more, with a trace."""
    servers: list[Server] = []

    def opened(clock: Clock) -> Server:
        servers.append(Server(tmp_path / "hitl.db", clock, Trace(tmp_path / "trace.ndjson")))
        return servers[-1]

    yield opened
    for server in servers:
        server.close()


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the observations of the trace."""
    return [json.loads(line) for line in (tmp_path / "trace.ndjson").read_text().splitlines()]


def create(id: str) -> str:
    """Return a request that creates a promise."""
    return request("promise.create", {"id": id, "timeoutAt": START_MS + 1_000, "tags": EXTERNAL})


def test_a_trace_has_what_was_asked_and_the_whole_answer(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    server = open_traced(Clock())
    asked = create("p")

    [answer] = server.run_batch([asked]).answers

    [line] = lines(tmp_path)
    assert line == {
        "kind": "promise.create",
        "now": START_MS,
        "req": json.loads(asked)["data"],
        "res": json.loads(answer),
    }


def test_servers_of_one_file_write_one_trace_in_the_order_of_their_commits(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    clock = Clock()
    one, other = open_traced(clock), open_traced(clock)

    for n, server in enumerate([one, other, one, other]):
        server.run_batch([create(f"p{n}"), request("promise.get", {"id": f"p{n}"})])
        clock.advance(1)

    traced = lines(tmp_path)
    assert [line["req"]["id"] for line in traced] == [f"p{n // 2}" for n in range(8)]
    assert [line["now"] for line in traced] == [START_MS + n // 2 for n in range(8)]


def test_a_request_is_one_line_however_it_was_written(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    data = {"kind": "promise.get", "head": {"corrId": "c"}, "data": {"id": "line\nbreak"}}

    open_traced(Clock()).run_batch([json.dumps(data, indent=4)])

    assert lines(tmp_path)[0]["req"] == {"id": "line\nbreak"}


def test_what_is_no_request_of_the_protocol_is_not_in_it(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    open_traced(Clock()).run_batch(["{", request("promise.eat", {}), request("debug.snap", {}), create("p")])

    assert [line["kind"] for line in lines(tmp_path)] == ["promise.create"]


def test_what_was_written_and_then_not_committed_is_cut_off(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    server = open_traced(Clock())
    server.run_batch([create("p")])
    with (tmp_path / "trace.ndjson").open("a") as trace:
        trace.write('{"kind":"promise.create","now":1,"req":{"id":"killed before the com')

    server.run_batch([create("q")])

    assert [line["req"]["id"] for line in lines(tmp_path)] == ["p", "q"]


def test_a_trace_that_was_taken_away_begins_anew(
    open_traced: Callable[[Clock], Server], tmp_path: Path
) -> None:
    server = open_traced(Clock())
    server.run_batch([create("p")])
    (tmp_path / "trace.ndjson").rename(tmp_path / "kept.ndjson")

    server.run_batch([create("q")])

    assert [line["req"]["id"] for line in lines(tmp_path)] == ["q"]


def test_where_the_trace_cannot_be_written_nothing_happens(tmp_path: Path) -> None:
    server = Server(tmp_path / "hitl.db", Clock(), Trace(tmp_path / "missing" / "trace.ndjson"))

    with pytest.raises(StorageFailed, match="trace"):
        server.run_batch([create("p")])

    server.close()
    plain = Server(tmp_path / "hitl.db", Clock())
    [answer] = plain.run_batch([request("promise.get", {"id": "p"})]).answers
    assert json.loads(answer)["head"]["status"] == 404
    plain.close()


def test_a_trace_is_its_owners_alone(open_traced: Callable[[Clock], Server], tmp_path: Path) -> None:
    open_traced(Clock()).run_batch([create("p")])

    assert (tmp_path / "trace.ndjson").stat().st_mode & 0o777 == 0o600
