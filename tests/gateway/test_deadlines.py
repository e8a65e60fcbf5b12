"""A deadline takes effect by itself if a gateway is the only process and gets no requests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

LIFE_MS = 500
SOON_MS = 2_000


def stored_state(hitl: Hitl, id: str) -> str:
    """Return the state of a promise as it is on disk: to ask for it would settle it."""
    if hitl.url.startswith("postgresql://"):
        with psycopg.connect(hitl.url) as db:
            found = db.execute("SELECT state FROM resonate.promises WHERE id = %s", (id,)).fetchone()
    else:
        with closing(sqlite3.connect(hitl.database)) as file:
            found = file.execute("SELECT state FROM promises WHERE id = ?", (id,)).fetchone()
    assert found is not None
    return str(found[0])


def test_a_gateway_alone_settles_a_request_by_its_deadline(hitl: Hitl, start_gateway: StartGateway) -> None:
    start_gateway()
    deadline = put(hitl, "q", Question(prompt="Now?"), deadline_ms=LIFE_MS).timeout_at
    wait_until(lambda: stored_state(hitl, "q") != "pending")
    with hitl.client() as client:
        assert client.now() - deadline < SOON_MS
    assert stored_state(hitl, "q") == "rejected_timedout"
