"""A worker's connection by libpq's own calls."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from hitl_cli.postgres.lane import BIGINT, Lane, Statement
from hitl_cli.postgres.turns import connect

NOTIFIES = Statement(b"notifies", b"SELECT pg_notify('here', 'x')::text || $1", (BIGINT,))
"""The notification comes with the end of the statement, behind its result."""


def test_a_notification_is_heard_behind_an_answer_and_between_two(database: str) -> None:
    async def heard() -> int:
        counted = 0

        def notified() -> None:
            nonlocal counted
            counted += 1

        async with await connect(database) as connection:
            await connection.execute("LISTEN here")
            lane = Lane(connection, notified)
            for _ in range(2):
                await lane.ask(NOTIFIES, (7,))
            with psycopg.connect(database, autocommit=True) as other:
                await asyncio.to_thread(other.execute, "NOTIFY here")
            async with asyncio.timeout(20):
                while counted < 3:
                    await lane.hear(0.01)
            lane.close()
        return counted

    assert asyncio.run(heard()) == 3


def test_a_connection_that_breaks_ends_the_listening_at_once(database: str) -> None:
    async def breaks() -> None:
        async with await connect(database) as connection:
            lane = Lane(connection)
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            async with asyncio.timeout(20):
                await lane.hear(60)
            assert lane.closed
            with pytest.raises(psycopg.OperationalError):
                await lane.ask(NOTIFIES, (7,))

    asyncio.run(breaks())
