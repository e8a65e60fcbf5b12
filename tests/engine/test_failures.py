"""A request that fails in a way that none should: a bug of ours, or the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine.errors import StorageFailed
from tests.engine.conftest import ADDRESS, EXTERNAL, START_MS, TARGETED, request
from tests.engine.failing import failing

if TYPE_CHECKING:
    from tests.engine.conftest import Engine


@pytest.mark.parametrize("at", range(1, 8))
def test_reads_that_fail_once_are_answered_one_by_one(engine: Engine, at: int) -> None:
    engine.create("p", EXTERNAL)
    with failing(engine.server.store, at, "a bug"):
        batch = engine.run_batch(request("promise.get", {"id": "p"}), request("task.get", {"id": "p"}))
    assert [json.loads(answer)["head"]["status"] for answer in batch.answers] == [200, 404]


@pytest.mark.parametrize("at", range(1, 8))
def test_a_batch_that_is_taken_again_tells_what_is_on_offer_and_what_people_watch(
    engine: Engine, at: int
) -> None:
    create = {"id": "t", "timeoutAt": START_MS + 100, "tags": TARGETED}
    with failing(engine.server.store, at, "a bug"):
        batch = engine.run_batch(request("promise.create", create))
    assert (batch.offered, batch.settled, batch.sooner) == ({ADDRESS}, True, True)


@pytest.mark.parametrize("at", range(1, 8))
def test_what_the_disk_did_not_take_left_no_trace(engine: Engine, at: int) -> None:
    with failing(engine.server.store, at, "the disk"), pytest.raises(StorageFailed):
        engine.create("t", TARGETED)
    assert engine.status("promise.get", id="t") == 404
    engine.create("t", TARGETED)
