"""Decisions of several processes at one moment: one counts, and each person gets a true message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import Conflict
from tests.acting import approval, decide, rejection
from tests.conftest import PATIENCE_S
from tests.recovery.processes import PROCESSES, start
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from hitl_cli.client.wire import Verdict
    from tests.conftest import Hitl

RACES = 50


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The message that a person got about their decision."""

    promise: str
    via: str
    won: bool
    decision: str | None = None
    conflict: str = ""


def decide_all(url: str, verdict: Verdict, ids: list[str], line: Barrier, told: Queue[list[Told]]) -> None:
    """Answer each promise at the same moment as the other process does."""
    outcomes = []
    with connect(url) as client:
        if verdict == "approve":
            answer = approval(by="ada", via="approving")
        else:
            answer = rejection(by="ada", via="rejecting", reason="over budget")
        for id in ids:
            line.wait(PATIENCE_S)
            try:
                decided = decide(client, id, answer)
            except Conflict as conflict:
                outcomes.append(Told(promise=id, via=answer.actor.via, won=False, conflict=str(conflict)))
            else:
                assert decided.fresh
                outcomes.append(Told(promise=id, via=answer.actor.via, won=True, decision=decided.audit.id))
    told.put(outcomes)


def test_of_two_opposite_decisions_at_once_one_wins_and_the_other_is_told_who_won(hitl: Hitl) -> None:
    ids = [f"race:{n}" for n in range(RACES)]
    with hitl.client() as client:
        client.call_many([blocking(id, client.now() + 3_600_000) for id in ids])
    line, told = PROCESSES.Barrier(2), PROCESSES.Queue()
    verdicts: tuple[Verdict, ...] = ("approve", "reject")
    processes = [start(decide_all, hitl.url, verdict, ids, line, told) for verdict in verdicts]
    by_promise = list(zip(told.get(timeout=PATIENCE_S), told.get(timeout=PATIENCE_S), strict=True))
    for process in processes:
        process.join()
        assert process.exitcode == 0

    assert len(by_promise) == RACES
    with hitl.client() as client:
        for pair in by_promise:
            [winner] = [one for one in pair if one.won]
            [loser] = [one for one in pair if not one.won]
            promise = promise_of(client, winner.promise)
            assert promise.state == ("resolved" if winner.via == "approving" else "rejected")
            assert audit_of(promise).id == winner.decision
            verb = "approved" if winner.via == "approving" else "rejected"
            assert f"was already {verb} by ada via {winner.via}" in loser.conflict
            assert loser.conflict.endswith("Nothing was changed.")


def blocking(id: str, timeout_at: int) -> ProtocolRequest:
    """Return the request that creates a promise for a person to answer."""
    tags = {"resonate:external": "true", "resonate:scope": "global"}
    return ProtocolRequest("promise.create", {"id": id, "timeoutAt": timeout_at, "param": {}, "tags": tags})
