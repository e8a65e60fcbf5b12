"""Events are reported although transactions commit in another order than that of their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.inbox.watch import watch_inbox
from hitl_cli.postgres.client import MANY, PostgresClient
from tests.conftest import wait_until

if TYPE_CHECKING:
    import pytest

    from hitl_cli.inbox.watch import InboxWatch

FAR = 4_000_000_000_000
LATE_MS = 60_000
"""Far more than a search reads again."""


class Slow:
    """A transaction that began long ago, and commits when the test says so."""

    def __init__(self, url: str, began: int, *requests: tuple[str, dict[str, Any]]) -> None:
        self._connection = psycopg.connect(url)
        head = {"corrId": "", "version": "", "resonate:debug_time": began}
        texts = [
            msgspec.json.encode({"kind": kind, "head": head, "data": data}).decode()
            for kind, data in requests
        ]
        row = self._connection.execute(MANY, (texts,)).fetchone()
        assert row is not None

    def commit(self) -> None:
        self._connection.commit()
        self._connection.close()


def creation(id: str) -> tuple[str, dict[str, Any]]:
    return "promise.create", {"id": id, "timeoutAt": FAR, "tags": EXTERNAL}


def settlement(id: str) -> tuple[str, dict[str, Any]]:
    return "promise.settle", {"id": id, "state": "resolved"}


def seen(watch: InboxWatch, count: int = 1) -> list[tuple[str, str]]:
    """Wait for so many changes, and return them."""
    found: list[tuple[str, str]] = []

    def enough() -> bool:
        changes = watch.look()
        assert changes is not None
        found.extend((change.kind, change.id) for change in changes)
        return len(found) >= count

    wait_until(enough)
    return sorted(found)


def test_what_commits_after_something_newer_is_told(database: str) -> None:
    with PostgresClient(database) as client, PostgresClient(database) as other:

        def quickly(*request: Any) -> None:
            Slow(database, other.now(), request).commit()

        for n in range(6):
            quickly(*creation(f"before{n}"))
        quickly(*settlement("before0"))
        watch = watch_inbox(client)
        watch.start()
        began = client.now() - LATE_MS
        asks, decides = Slow(database, began, creation("late")), Slow(database, began, settlement("before5"))
        quickly(*creation("soon"))
        quickly(*settlement("before4"))
        assert seen(watch, 2) == [("asked", "soon"), ("decided", "before4")]
        asks.commit()
        decides.commit()
        assert seen(watch, 2) == [("asked", "late"), ("decided", "before5")]
        assert watch.look() == []


def test_what_is_settled_long_after_its_deadline_is_told(database: str) -> None:
    with PostgresClient(database) as client:
        Slow(
            database,
            client.now() - 2 * LATE_MS,
            ("promise.create", {"id": "q", "timeoutAt": client.now() - LATE_MS, "tags": EXTERNAL}),
            creation("other"),
        ).commit()
        with psycopg.connect(database, autocommit=True) as holding:
            holding.execute("SELECT pg_advisory_lock(7107111, 1)")  # another process fires what is due
            watch = watch_inbox(client)
            watch.start()
            Slow(database, client.now(), settlement("other")).commit()
            assert seen(watch) == [("decided", "other")]
        assert seen(watch) == [("decided", "q")]


def test_after_a_connection_that_broke_all_is_looked_at_again(database: str) -> None:
    with PostgresClient(database) as client:
        watch = watch_inbox(client)
        watch.start()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        Slow(database, client.now() - LATE_MS, creation("meanwhile")).commit()
        wait_until(lambda: watch.look() is None)
        Slow(database, client.now() - LATE_MS, creation("next")).commit()
        assert seen(watch) == [("asked", "next")]


def test_a_change_that_a_search_finds_before_it_is_told_is_reported_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PostgresClient(database) as client, PostgresClient(database) as other:
        watch = watch_inbox(client)
        watch.start()
        told, withheld = client.told, list[str]()

        def late() -> list[str]:
            withheld.extend(told() or [])
            return []

        def at_once() -> list[str]:
            late()
            ids = list(withheld)
            withheld.clear()
            return ids

        for (kind, data), change in ((creation("a"), "asked"), (settlement("a"), "decided")):
            monkeypatch.setattr(client, "told", late)
            other.call_many([ProtocolRequest(kind, data)])
            assert seen(watch) == [(change, "a")]
            wait_until(lambda: late() or withheld == ["a"])
            monkeypatch.setattr(client, "told", at_once)
            assert watch.look() == []
