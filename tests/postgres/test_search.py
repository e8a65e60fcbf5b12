"""Searches in a database give the answers of the file, page by page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import ProtocolRequest, as_page, call
from hitl_cli.postgres.client import PostgresClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from hitl_cli.client.protocol import Client

FAR = 4_000_000_000_000

RUN = st.sampled_from(["a", "b", "ab", "b%_\\", "é"])
PART = st.sampled_from(["", ":1", ":2", ":10", ":1.1"])
OWN = st.dictionaries(
    st.sampled_from(["hitl:vote", "hitl:said", "team"]), st.sampled_from(["a", "1", "x'\"y"]), max_size=2
)
KIND = st.sampled_from(
    [
        {},
        {"resonate:external": "true"},
        {"resonate:scope": "global"},
        {"resonate:target": "poll://any@default", "resonate:scope": "global"},
        {"resonate:timer": "true"},
    ]
)
END = st.sampled_from([None, None, "resolved", "rejected", "rejected_canceled"])
PROMISES = st.lists(st.tuples(RUN, PART, OWN, KIND, END), max_size=14, unique_by=lambda one: one[0] + one[1])
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(
            ["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]
        ),
        "root": st.booleans(),
        "sort": st.sampled_from(["created", "-created", "id", "-settled"]),
        "idPrefix": st.sampled_from(["", "a", "a:", "b%", "b%_", "é", "b%_\\"]),
        "tags": st.one_of(
            OWN,
            st.sampled_from(
                [{"resonate:external": "true"}, {"resonate:origin": "a"}, {"resonate:branch": "ab"}]
            ),
        ),
        "settledSince": st.sampled_from([0, FAR]),
    },
).filter(lambda query: "settledSince" not in query or query.get("sort") == "-settled")


def requests(promises: list[Any]) -> Iterator[ProtocolRequest]:
    for run, part, own, kind, end in promises:
        tags = {**own, **kind, "resonate:origin": run, "resonate:branch": run}
        yield ProtocolRequest("promise.create", {"id": run + part, "timeoutAt": FAR, "tags": tags})
        if end is not None:
            yield ProtocolRequest("promise.settle", {"id": run + part, "state": end})


def pages(client: Client, query: dict[str, Any], size: int) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    cursor = None
    while True:
        page = as_page(
            call(client, "promise.search", limit=size, **query, **({"cursor": cursor} if cursor else {}))
        )
        found.append([(one.id, one.state) for one in page.promises])
        cursor = page.cursor
        if cursor is None:
            return found


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(promises=PROMISES, queries=st.lists(QUERY, min_size=8, max_size=8), size=st.integers(1, 4))
def test_the_answers_are_those_of_the_file(
    database: str, tmp_path_factory: pytest.TempPathFactory, promises: Any, queries: Any, size: int
) -> None:
    file = Path(tmp_path_factory.mktemp("search")) / "hitl.db"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE resonate.promises CASCADE")
    with PostgresClient(database) as one, EmbeddedClient(file) as other:
        for request in requests(promises):
            for client in (one, other):
                assert client.call_many([request])[0].status == 200
            time.sleep(0.002)  # within one ms a database goes by the ids, and a file by what came first
        for query in queries:
            assert pages(one, query, size) == pages(other, query, size), query
