"""kill -9 of a worker that asks, at each of its requests: one request, one decision, no reminder lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import search
from tests.conftest import Hitl, wait_until
from tests.recovery.crew import HOUR_MS, LEASE_MS, Crew
from tests.worker.watching import task_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUESTS = 11
"""The step, the request, the timer, to suspend; a reminder's begin and end, the next timer, to suspend;
the timer that nobody needs any more, the step's end, the run's end."""


class Life:
    """A run that asks and reminds once, whose first worker dies before its nth request."""

    def __init__(self, folder: Path, dies_at: int) -> None:
        folder.mkdir()
        self.crew = Crew(Hitl(folder))
        self._first = self.crew.worker(dies_at)
        self.died = False

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition; another worker takes over, past the lease, from the one that died."""

        def met() -> object:
            if not self.died and self._first.exitcode is not None:
                self.died = True
                self.crew.later(LEASE_MS)
                self.crew.worker()
            return condition()

        wait_until(met)

    def live(self) -> None:
        """Ask, be reminded, be answered and end."""
        crew = self.crew
        crew.begin("r", "asks", {"prompt": "Well?", "remind": "1h"})
        self.until(lambda: crew.pending() and self.suspended())
        crew.later(HOUR_MS)
        self.until(lambda: crew.pending() and crew.said() and self.suspended())
        crew.approve("r", data=7)
        self.until(lambda: crew.promise("r").state != "pending")

    def suspended(self) -> bool:
        """Whether the run waits, and no worker has it in hand."""
        return task_of(self.crew.client, "r").state == "suspended"


@pytest.mark.heavy
@pytest.mark.only("file", "postgres", reason="takes longer than a test may over HTTP")
def test_a_worker_killed_at_any_of_its_requests_asks_once_is_answered_once_and_reminds(
    tmp_path: Path,
) -> None:
    reminded = Counter[int]()
    for dies_at in range(REQUESTS + 1):
        life = Life(tmp_path / f"{dies_at}", dies_at)
        crew = life.crew
        try:
            life.live()
            assert life.died == (dies_at < REQUESTS)
            assert (crew.result()["approved"], crew.result()["data"]) == (True, 7)
            promises = search(crew.client, idPrefix="r:")
            assert [p.id for p in promises if "hitl:request" in p.tags] == ["r:1.1"]
            assert {p.id for p in promises} == {"r:1", "r:1.1", "r:1.2", "r:1.3", "r:1.4"}
            assert [p.id for p in promises if p.state == "pending"] == []
            reminded[len(crew.said())] += 1
        finally:
            crew.close()
    assert reminded == {1: REQUESTS, 2: 1}  # twice where it died between the words and their record
