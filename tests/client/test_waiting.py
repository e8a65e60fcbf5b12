"""Waiting for something on a server that is away for a while."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import call
from hitl_cli.client.waiting import PATIENCE_S, wait_until
from hitl_cli.engine import store
from hitl_cli.errors import NotFound, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl


@pytest.fixture
def client(hitl: Hitl, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedClient]:
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.01)
    with EmbeddedClient(hitl.database) as client:
        client.wait(0)
        monkeypatch.setattr(client, "wait", lambda _: None)
        yield client


def test_a_file_that_another_process_locks_for_a_while_is_waited_for(
    hitl: Hitl, client: EmbeddedClient
) -> None:
    with closing(sqlite3.connect(hitl.database, isolation_level=None)) as other:
        looks, answered = 0, []

        def look() -> str | None:
            nonlocal looks
            looks += 1
            if looks == 2:
                other.execute("BEGIN IMMEDIATE")
            if looks == 4:
                other.execute("COMMIT")
            call(client, "promise.create", id=f"a{looks}", timeoutAt=client.now() + 1_000, tags={})
            answered.append(looks)
            return "done" if looks == 5 else None

        assert wait_until(client, look) == "done"
        assert answered == [1, 4, 5]


def test_a_server_that_is_away_for_too_long_is_an_error(client: EmbeddedClient) -> None:
    now = 0.0

    def look() -> None:
        nonlocal now
        now += PATIENCE_S / 2
        raise Unreachable("away")

    with pytest.raises(Unreachable):
        wait_until(client, look, clock=lambda: now)
    assert now == PATIENCE_S * 1.5


def test_time_out_and_leaving_end_a_wait_and_other_errors_are_raised(client: EmbeddedClient) -> None:
    assert wait_until(client, lambda: None, timeout_s=0) is None
    assert wait_until(client, lambda: None, left=lambda: True) is None

    def missing() -> None:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        wait_until(client, missing)
