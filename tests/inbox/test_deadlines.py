"""A question and its deadline, for any answers at any times, by a clock that the test moves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.errors import Conflict, TimedOut
from hitl_cli.inbox.pending import pending
from hitl_cli.requests.question import Outcome, outcome_of
from tests.acting import approval, decide, rejection
from tests.inbox.requests import HOUR_MS, request
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE_MS = 24 * HOUR_MS
MEANS: dict[str, Outcome] = {"expire": "expired", "reject": "rejected", "approve": "approved"}
VERDICTS: dict[str, Outcome] = {"approve": "approved", "reject": "rejected"}

answers = st.sampled_from(["approve", "reject", "look"])
moves = st.lists(st.tuples(st.integers(0, 10 * HOUR_MS), answers), max_size=8)


@settings(max_examples=40, deadline=None)
@given(moves, st.sampled_from(sorted(MEANS)))
def test_the_first_answer_before_the_deadline_stands_and_else_the_deadline(
    moves: Sequence[tuple[int, str]], on_deadline: Any
) -> None:
    now = 1_800_000_000_000
    end = now + DEADLINE_MS
    settled: Outcome | None = None
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedClient(Path(folder) / "hitl.db", lambda: now) as client,
    ):
        request(client, "q", on_deadline=on_deadline)
        for pause, action in moves:
            now += pause
            if now >= end and settled is None:
                settled = MEANS[on_deadline]
            if action != "look":
                told = answered(client, action)
                verdict = VERDICTS[action]
                if settled is None:
                    settled = verdict
                    assert told == "decided"
                elif promise_of(client, "q").state == "rejected_timedout":
                    assert told == "too late"
                else:
                    assert told == ("decided already" if settled == verdict else "decided otherwise")
            assert outcome_of(promise_of(client, "q")) == settled
            assert [item.id for item in pending(client)[0]] == ([] if settled else ["q"])


def answered(client: EmbeddedClient, action: str) -> str:
    """Answer, and return the message."""
    answer = approval(by="ada", via="test") if action == "approve" else rejection(by="ada", via="test")
    try:
        return "decided" if decide(client, "q", answer).fresh else "decided already"
    except Conflict:
        return "decided otherwise"
    except TimedOut:
        return "too late"
