"""What a request reads depends on what it answers, not on 100,000 finished runs beside it.

The database was installed while it was empty, as in practice: the plans of a session may be of that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from hitl_cli.client.wire import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.cluster import Cluster

FINISHED = 100_000
WAITING = 1_000
FAR = 4_000_000_000_000

MOST_BLOCKS = 600
"""Of 8 kB each, for one answer of a few promises. All promises have some 20,000."""

FILL = """
SET session_replication_role = replica;
INSERT INTO resonate.promises (id, state, param_data, value_data, tags, timeout_at, created_at, settled_at)
SELECT i.id || p.part, i.state, %(call)s, 'dHJ1ZQ==',
  p.tags || jsonb_build_object('resonate:origin', i.id, 'resonate:branch', i.id || p.branch,
    'resonate:parent', i.id || p.parent)
    || CASE WHEN p.part = ':1.1' THEN jsonb_build_object('hitl:key', 'k' || i.id) ELSE '{}' END
    || CASE WHEN p.part = ':1.1:v' THEN jsonb_build_object('hitl:vote', i.id || ':1.1') ELSE '{}' END,
  %(far)s, i.at, CASE WHEN i.state <> 'pending' THEN i.at + 1 END
FROM (SELECT %(prefix)s || n AS id, %(now)s - 1000 * n::bigint AS at, n,
      CASE WHEN %(prefix)s = 'w' THEN 'pending' WHEN n %% 7 = 0 THEN 'rejected' ELSE 'resolved' END AS state
      FROM generate_series(1, %(count)s) n) i,
  (VALUES
    ('', '', '', '{"resonate:target": "poll://any@default", "resonate:scope": "global"}'::jsonb),
    (':1', '', '', '{"resonate:scope": "local"}'),
    (':1.1', ':1.1', ':1', '{"resonate:external": "true", "resonate:scope": "global", "hitl:request": "1",
      "hitl:workflow": "deploy", "hitl:assignee:lead": "1"}'),
    (':1.1:v', ':1.1:v', ':1.1:v', '{"hitl:said": "1", "resonate:scope": "local"}'))
  p(part, branch, parent, tags)
WHERE p.part <> ':1.1:v' OR i.n %% 10 = 0;
"""
CALL = "eyJmdW5jIjoiZGVwbG95IiwiYXJncyI6W10sImt3YXJncyI6e319"
"""Of the function deploy, as a run's data."""

TASKS = """
SET session_replication_role = replica;
INSERT INTO resonate.tasks (id, state, version)
SELECT id, CASE WHEN state = 'pending' THEN 'suspended' ELSE 'fulfilled' END, 1
FROM resonate.promises WHERE target IS NOT NULL ON CONFLICT DO NOTHING;
INSERT INTO resonate.callbacks
SELECT id || ':1.1', id FROM resonate.promises WHERE target IS NOT NULL AND state = 'pending';
"""

SEARCHES: list[dict[str, Any]] = [
    {"state": "pending", "tags": EXTERNAL},
    {"state": "pending", "tags": EXTERNAL, "sort": "-created"},
    {"state": "pending", "tags": EXTERNAL, "after": "w500:1.1"},
    {"state": "pending", "tags": EXTERNAL | {"hitl:assignee:lead": "1"}},
    {"state": "pending", "tags": EXTERNAL | {"hitl:quorum": "1"}},
    {"state": "pending", "tags": EXTERNAL, "idPrefix": "w77"},
    {"tags": EXTERNAL, "sort": "-settled", "settledSince": 0},
    {"tags": EXTERNAL, "sort": "-settled", "settledSince": 0, "state": "rejected"},
    {"tags": EXTERNAL, "sort": "-settled", "settledSince": FAR},
    {"root": True, "sort": "-created"},
    {"root": True, "sort": "-created", "state": "pending"},
    {"root": True, "sort": "-created", "state": "rejected"},
    {"tags": {"resonate:origin": "f77"}},
    {"tags": {"resonate:origin": "f77"}, "state": "pending"},
    {"tags": {"hitl:key": "kf77"}},
    {"tags": {"hitl:key": "nobody's"}},
    {"tags": {"hitl:vote": "f770:1.1"}},
    {"tags": {"hitl:comment": "f770:1.1"}},
    {"tags": {"hitl:said": "1"}, "sort": "-created"},
    {"tags": {"hitl:token": "1"}},
    {"tags": {"hitl:revoked": "f77:1.1"}},
    {"idPrefix": "f77:1.1:t-"},
    {"sort": "id", "idPrefix": "f777"},
]


class Measured:
    """One session of a database, as a worker's or a command's is."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def request(self, kind: str, **data: Any) -> tuple[Any, int]:
        """Return the answer's data, and how many blocks were read for it."""
        head = {"corrId": "", "version": ""}
        request = msgspec.json.encode({"kind": kind, "head": head, "data": data}).decode()
        answers, blocks = self.run("SELECT hitl.many(%s::text[])", [request])
        [answer] = msgspec.json.decode(answers)
        assert answer["head"]["status"] == 200, answer
        return answer["data"], blocks

    def run(self, statement: Any, *values: object) -> tuple[Any, int]:
        """Return the value of a statement, which read no whole table, and how many blocks it read."""
        with self._connection.transaction():
            before = self._whole()
            blocks = self._blocks()
            row = self._connection.execute(statement, values).fetchone()
            assert row is not None
            assert self._whole() == before, f"{statement} {values} reads a whole table"
            return row[0], self._blocks() - blocks

    def now(self) -> int:
        return self._number("SELECT extract(epoch FROM now()) * 1000")

    def _whole(self) -> int:
        return self._number(
            "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables"
            " WHERE schemaname = 'resonate' AND relname IN ('promises', 'tasks', 'callbacks')"
        )

    def _blocks(self) -> int:
        return self._number(
            "SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class"
            " WHERE relnamespace = 'resonate'::regnamespace"
        )

    def _number(self, statement: Any) -> int:
        row = self._connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def year(postgres: Cluster) -> Iterator[Measured]:
    """A session that began on an empty database, which has a year of history now."""
    url = postgres.create_installed()
    session = Measured(url)
    live(session, "first")
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for prefix, count in (("f", FINISHED), ("w", WAITING)):
            connection.execute(
                FILL, {"prefix": prefix, "count": count, "far": FAR, "now": session.now(), "call": CALL}
            )
        connection.execute(TASKS)
    session.run("SELECT hitl.care()::text")  # as a worker does
    yield session
    postgres.drop(url)


@pytest.mark.parametrize("query", SEARCHES, ids=str)
def test_a_search_reads_what_it_finds(year: Measured, query: dict[str, Any]) -> None:
    for limit in (3, 100):
        data, blocks = year.request("promise.search", **query, limit=limit)
        assert blocks < MOST_BLOCKS, (len(data["promises"]), limit)


def test_a_decision_reads_its_own_run(year: Measured) -> None:
    for run in ("n1", "n2"):
        for what, blocks in live(year, run).items():
            assert blocks < MOST_BLOCKS, what


def live(session: Measured, run: str) -> dict[str, int]:
    """Start a run, have it ask and be decided, and end it; return how many blocks each request read."""
    lineage = {"resonate:origin": run, "resonate:parent": run, "resonate:scope": "global"}
    target = {"resonate:target": f"poll://any@{run}"}
    read: dict[str, int] = {}

    def ask(kind: str, **data: Any) -> None:
        read[kind] = session.request(kind, **data)[1]

    def take() -> None:
        taken, read["take"] = session.run(
            "SELECT hitl.take(%s, %s, %s, %s, %s, %s)",
            [f"poll://any@{run}"],
            "p",
            60_000,
            64,
            ["deploy@1"],
            ["another"],
        )
        assert len(taken["tasks"]) == 1

    tags = {**lineage, **target, "resonate:branch": run}
    ask("promise.create", id=run, timeoutAt=FAR, param={"data": CALL}, tags=tags)
    take()
    tags = {**lineage, **EXTERNAL, "resonate:branch": f"{run}:1"}
    data = {"id": f"{run}:1", "timeoutAt": FAR, "param": {}, "tags": tags}
    ask("task.fence", id=run, version=1, action={"kind": "promise.create", "head": {}, "data": data})
    wait = {"awaited": f"{run}:1", "awaiter": run}
    actions = [{"kind": "promise.register_callback", "head": {}, "data": wait}]
    ask("task.suspend", id=run, version=1, actions=actions)
    ask("promise.settle", id=f"{run}:1", state="resolved", value={})
    take()
    ask("task.heartbeat", pid="p", tasks=[{"id": run, "version": 2}])
    settle = {"id": run, "state": "resolved", "value": {}}
    ask("task.fulfill", id=run, version=2, action={"kind": "promise.settle", "head": {}, "data": settle})
    ask("task.get", id=run)
    ask("promise.get", id=run)
    read["tick"] = session.run("SELECT hitl.tick()")[1]
    return read
