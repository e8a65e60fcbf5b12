"""A long run costs in proportion to its steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from resonate.resonate import Resonate

from hitl_cli.sdk.embedded_connection import EmbeddedConnection
from tests.acting import approval, decide
from tests.apps.features import counts
from tests.recovery.crew import ASKS
from tests.worker.watching import FEATURES, begin, result_of, waiting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl

STEPS = 1_000
RUNS = 50


class Head(msgspec.Struct, frozen=True):
    status: int


class Answer(msgspec.Struct, frozen=True):
    kind: str
    head: Head


class Counting(EmbeddedConnection):
    """A connection that remembers what passed through it: a kind, a status and the answer's length."""

    passed: list[tuple[str, int, int]]

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        text = await super().send(req, headers)
        answer = msgspec.json.decode(text, type=Answer)
        self.passed.append((answer.kind, answer.head.status, len(text)))
        return text


async def passed_by(database: Path, steps: int) -> list[tuple[str, int, int]]:
    """Run so many steps in this process, and return what passed."""
    connection = Counting(database, group="default", pid="one", room=lambda _: 1, wants=lambda _promise: True)
    connection.passed = []
    resonate = Resonate(network=connection, group="default", pid="one", env={})
    resonate.register(counts)
    assert await resonate.rpc(f"r{steps}", counts, steps).result() == steps
    await resonate.stop()
    connection.close()
    return connection.passed


def test_each_of_a_thousand_steps_takes_two_requests_and_answers_of_one_size(tmp_path: Path) -> None:
    passed = asyncio.run(passed_by(tmp_path / "hitl.db", STEPS))
    fences = [length for kind, status, length in passed if kind == "task.fence" and status == 200]
    assert len(fences) == 2 * STEPS
    assert len(passed) - len(fences) < 10  # starting, acquiring, fulfilling, listening
    assert max(fences) - min(fences) < 100  # numbers with more digits; an earlier step beside it is more


@pytest.mark.only("file", "postgres", reason="a thousand round trips take longer than a test may")
def test_a_worker_completes_a_run_of_a_thousand_steps(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "counts", STEPS)
        assert result_of(client, "r") == STEPS


@pytest.mark.parametrize(
    ("workflow", "arguments"),
    [
        ("asks", {"prompt": "Deploy?"}),
        ("asks", {"prompt": "Deploy?", "remind": "1h"}),
        ("asks_each", ["ada"]),
    ],
)
def test_a_run_that_asks_leaves_nothing_for_the_garbage_collector(
    hitl: Hitl, workflow: str, arguments: Any
) -> None:
    hitl.worker("--app", ASKS)
    with hitl.client() as client:
        begin(client, "before", "collected")
        result_of(client, "before")
        for n in range(RUNS):
            begin(client, f"r{n}", workflow, arguments)
        for id in waiting(client, RUNS):
            decide(client, id, approval(by="ada", via="test"))
        for n in range(RUNS):
            result_of(client, f"r{n}")
        begin(client, "after", "collected")
        found = result_of(client, "after")
    assert isinstance(found, int)
    assert found < 10 * RUNS  # a run that refers to itself is 80 objects or more
