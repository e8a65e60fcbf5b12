"""Time passes while no process runs, and everyone who looks afterwards sees that it has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hitl_cli.errors import TimedOut
from hitl_cli.inbox.pending import pending
from hitl_cli.runs.reading import get_run
from tests.acting import approval, decide
from tests.conftest import wait_until
from tests.worker.watching import begin, promise_of, result_of, waiting

if TYPE_CHECKING:
    from tests.conftest import Hitl

DAY_MS = 86_400_000


class Clock:
    """The wall clock, moved on by the test."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


def test_a_deadline_that_passes_while_no_process_runs_has_passed_for_everyone(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "r", "--deadline", "3s")
    with hitl.client() as client:
        assert waiting(client) == ["r:1"]
        deadline = promise_of(client, "r").timeout_at
        worker.kill()
    wait_until(lambda: time.time() * 1_000 > deadline)

    assert hitl.json("status", "r")["state"] == "expired"
    assert "expired" in hitl.ok("status", "r")
    assert hitl.json("pending") == []
    hitl.fails(5, "approve", "r:1", code="deadline-passed")
    hitl.fails(5, "reject", "r:1", code="deadline-passed")
    assert hitl.json("status", "r")["steps"][0]["state"] == "rejected_timedout"


@pytest.mark.only("file", "postgres", reason="the clock of hitl server does not move with the client's")
def test_a_wait_of_a_year_is_answered_on_its_last_day_and_the_run_goes_on(hitl: Hitl) -> None:
    clock = Clock()
    first = hitl.worker()
    with hitl.client(clock) as client:
        begin(client, "r", "approval", "r")
        assert waiting(client) == ["r:1"]
        first.kill()
        clock.ahead_ms = 364 * DAY_MS
        [item], _ = pending(client)
        assert item.deadline - client.now() <= DAY_MS
        decide(client, "r", approval(by="ada", via="test", data="at last"))
        hitl.worker()
        assert result_of(client, "r") == {"message": "workflow r completed", "data": "at last"}


def test_a_wait_of_a_year_is_over_after_a_year(hitl: Hitl) -> None:
    clock = Clock()
    worker = hitl.worker()
    with hitl.client(clock) as client:
        begin(client, "r", "approval", "r")
        assert waiting(client) == ["r:1"]
        worker.kill()
        clock.ahead_ms = 365 * DAY_MS
        assert pending(client) == ([], False)
        assert get_run(client, "r").state == "expired"
        with pytest.raises(TimedOut) as refused:
            decide(client, "r:1", approval(by="ada", via="test"))
        assert refused.value.code == "deadline-passed"
        assert promise_of(client, "r:1").settled_at == promise_of(client, "r:1").timeout_at
