"""Searches in a database give the answers of the file, page by page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitl_cli.client.protocol import ProtocolRequest, call, search
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.postgres.client import PostgresClient
from tests.servers import connect_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from hitl_cli.client.protocol import Client

FAR = 4_000_000_000_000
AGO_MS = 1_000_000
MINUTE_MS = 60_000

RUN = st.sampled_from(["a", "b", "ab", "b%_\\", "é"])
PART = st.sampled_from(["", ":1", ":2", ":10", ":1.1"])
TEXT = st.sampled_from(["a", "1", "x'\"y", "", "$$", "\\", "e\u0301", "\U0001f600", '{"a": 1}', "null"])
OWN = st.dictionaries(st.sampled_from(["hitl:vote", "hitl:said", "team", "", "a'b", "é"]), TEXT, max_size=2)
KIND = st.sampled_from(
    [
        {},
        {"resonate:external": "true"},
        {"resonate:scope": "global"},
        {"resonate:target": "poll://any@default", "resonate:scope": "global"},
        {"resonate:timer": "true"},
    ]
)
HEADERS = st.dictionaries(st.sampled_from(["hitl:by", "X", "", "ü"]), TEXT, max_size=2)
DEEP = "[" * 500 + "]" * 500
DATA = st.sampled_from([None, "", "eA==", DEEP, "\U0001f600"])
VALUE = st.fixed_dictionaries({"headers": HEADERS, "data": DATA})
END = st.sampled_from([None, None, "resolved", "rejected", "rejected_canceled"])
PROMISE = st.tuples(RUN, PART, OWN, KIND, VALUE, END, VALUE, st.integers(0, 1), st.integers(0, 2))
"""The last two: ms after the one before, and ms until it was settled."""
PROMISES = st.lists(PROMISE, max_size=14, unique_by=lambda one: one[0] + one[1])
TAGS = st.one_of(
    OWN,
    st.sampled_from(
        [
            {"resonate:external": "true"},
            {"resonate:origin": "a"},
            {"resonate:branch": "ab"},
            {"resonate:external": "true", "hitl:said": "1"},
        ]
    ),
)
PREFIX = st.sampled_from(["", "a", "a:", "b%", "b%_", "é", "b%_\\"])
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(
            ["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]
        ),
        "root": st.booleans(),
        "sort": st.sampled_from(["created", "-created", "id", "-settled"]),
        "idPrefix": PREFIX,
        "tags": TAGS,
        "settledSince": st.integers(0, 20),
    },
).filter(lambda query: "settledSince" not in query or query.get("sort") == "-settled")
TASK_QUERY = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["pending", "fulfilled", "acquired"]),
        "idPrefix": PREFIX,
        "tags": OWN,
    },
)
SCHEDULE = st.tuples(RUN, PART, OWN, st.sampled_from(["0 2 * * MON", "0 4 1 JAN *", "*/5 * * * *"]))
SCHEDULES = st.lists(SCHEDULE, max_size=5, unique_by=lambda one: one[0] + one[1])
SCHEDULE_QUERY = st.fixed_dictionaries({}, optional={"idPrefix": PREFIX, "tags": OWN})


def promises_made(promises: list[Any], began: int) -> Iterator[tuple[int, ProtocolRequest]]:
    """Yield requests and when they are made: in one ms the shortest id first, as a database lists them."""
    at, made = began, []
    for run, part, own, kind, param, end, value, later, until in promises:
        at += later
        tags = {**own, **kind, "resonate:origin": run, "resonate:branch": run}
        data = {"id": run + part, "timeoutAt": FAR, "param": param, "tags": tags}
        made.append((at, ProtocolRequest("promise.create", data)))
        if end is not None:
            data = {"id": run + part, "state": end, "value": value}
            made.append((at + until, ProtocolRequest("promise.settle", data)))
    return iter(
        sorted(made, key=lambda one: (one[0], one[1].kind, len(one[1].data["id"]), one[1].data["id"]))
    )


def schedules_made(schedules: list[Any], at: int) -> Iterator[tuple[int, ProtocolRequest]]:
    for run, part, own, cron in schedules:
        shape = {"promiseId": f"{run}-{{{{.timestamp}}}}", "promiseTimeout": 60_000, "promiseTags": own}
        yield at, ProtocolRequest("schedule.create", {"id": run + part, "cron": cron, **shape})


def pages(client: Client, kind: str, query: dict[str, Any], size: int) -> list[list[dict[str, Any]]]:
    """Return the pages of a list, as they are on the wire."""
    found: list[list[dict[str, Any]]] = []
    cursor = None
    while True:
        answer = call(client, f"{kind}.search", limit=size, **query, **({"cursor": cursor} if cursor else {}))
        assert answer.status == 200, answer.message()
        page = msgspec.json.decode(answer.data)
        found.append(page[f"{kind}s"])
        cursor = page.get("cursor")
        if cursor is None:
            return found


def alike(pages: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Return pages without what the protocol leaves open: fields that are absent, or null."""
    return [[_without_nulls(one) for one in page] for page in pages]


def _without_nulls(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    inner = {name: _without_nulls(value) for name, value in found.items()}
    return {name: value for name, value in inner.items() if value not in (None, {}, "")}


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    promises=PROMISES,
    queries=st.lists(QUERY, min_size=8, max_size=8),
    tasks=st.lists(TASK_QUERY, min_size=2, max_size=2),
    schedules=SCHEDULES,
    schedule_queries=st.lists(SCHEDULE_QUERY, min_size=2, max_size=2),
    size=st.integers(1, 4),
)
def test_the_answers_are_those_of_the_file(
    database: str,
    tmp_path_factory: pytest.TempPathFactory,
    promises: Any,
    queries: Any,
    tasks: Any,
    schedules: Any,
    schedule_queries: Any,
    size: int,
) -> None:
    url = f"sqlite:///{Path(tmp_path_factory.mktemp('search')) / 'hitl.db'}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE resonate.promises, hitl.schedules CASCADE")
    # A minute after schedules were due: one that gets due meanwhile is fired by one server first.
    began = at = (now_ms() - AGO_MS) // (5 * MINUTE_MS) * (5 * MINUTE_MS) + MINUTE_MS
    with connect_at(database, lambda: at) as one, connect_at(url, lambda: at) as other:
        for when, request in (*promises_made(promises, began), *schedules_made(schedules, began + 100)):
            at = when
            for client in (one, other):
                answer = client.call_many([request])[0]
                assert answer.status == 200, answer.message()
        at = began + 1_000
        for query in queries:
            if "settledSince" in query:
                query["settledSince"] += began
            assert alike(pages(one, "promise", query, size)) == alike(pages(other, "promise", query, size)), (
                query
            )
        for query in tasks:
            assert in_order(pages(one, "task", query, size)) == in_order(pages(other, "task", query, size)), (
                query
            )
        for query in schedule_queries:
            both = [alike(pages(client, "schedule", query, size)) for client in (one, other)]
            assert both[0] == both[1], query


def in_order(pages: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return tasks by id: hitl lists none, and a database has another order than a file."""
    return sorted((_without_nulls(one) for page in pages for one in page), key=lambda one: str(one["id"]))


PLAIN = '{"resonate:external": "true"}'
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    odd=st.dictionaries(st.sampled_from(["n", "hitl:vote", "hitl:said", "é"]), JSON, max_size=3), whole=JSON
)
def test_what_other_tools_have_stored_is_listed_as_texts(database: str, odd: Any, whole: Any) -> None:
    """Tags and headers may be any JSON in a database, and all that is asked for is answered."""
    tags = {"resonate:external": "true", **odd}
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE resonate.promises CASCADE")
        connection.execute(
            "INSERT INTO resonate.promises (id, tags, param_headers, value_headers, timeout_at, created_at)"
            " VALUES ('odd', %s, %s, %s, %s, 1), ('plain', %s, '{}', '{}', %s, 2)",
            (*(msgspec.json.encode(each).decode() for each in (tags, odd, whole)), FAR, PLAIN, FAR),
        )
    with PostgresClient(database) as client:
        for sort in ("created", "-created", "id"):
            found = search(client, sort=sort, tags={"resonate:external": "true"}, state="pending")
            assert {promise.id for promise in found} == {"odd", "plain"}
        [listed] = [promise for promise in found if promise.id == "odd"]
        assert {
            name: text for name, text in odd.items() if isinstance(text, str)
        }.items() <= listed.tags.items()
        answer = call(client, "promise.settle", id="odd", state="resolved", value={})
        assert answer.status == 200
        assert msgspec.json.decode(answer.data)["promise"]["tags"] == listed.tags
