"""The open runs by workflow and state, alike on every server and from every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitl_cli.client import protocol
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import INTERNAL_FUNCTIONS
from hitl_cli.runs import Runs, open_runs
from hitl_cli.runs.run import RunSpec
from tests.conftest import NOBODY

if TYPE_CHECKING:
    import pytest

    from hitl_cli.client.protocol import Client


def ask(client: Client, kind: str, **data: Any) -> None:
    [answer] = client.call_many([ProtocolRequest(kind, data)])
    assert answer.status == 200, answer.data


def test_open_runs_are_counted_by_the_state_of_their_tasks(client: Client) -> None:
    runs = Runs(client, NOBODY)
    for id, workflow in (("a", "ship"), ("b", "ship"), ("c", "ship"), ("d", "pay"), ("e", "pay")):
        runs.start(RunSpec(id=id, workflow=workflow))
    runs.start(RunSpec(id="own", workflow=min(INTERNAL_FUNCTIONS)))
    for id in ("b", "c", "d", "e"):
        ask(client, "task.acquire", id=id, version=0, pid="p", ttl=60_000)
    later = {"id": "c:1", "timeoutAt": client.now() + 60_000, "param": None}
    ask(client, "promise.create", **later, tags={"resonate:external": "true", "resonate:origin": "c"})
    callback = {"kind": "promise.register_callback", "data": {"awaited": "c:1", "awaiter": "c"}}
    ask(client, "task.suspend", id="c", version=1, actions=[callback | {"head": {}}])
    ask(client, "task.halt", id="d")
    runs.cancel("e")
    expected = {("ship", "queued"): 1, ("ship", "running"): 1, ("ship", "waiting"): 1, ("pay", "waiting"): 1}
    assert open_runs.open_runs(client) == open_runs.OpenRuns(counts=expected)  # type: ignore[arg-type]


def test_it_says_that_there_are_more_than_it_reads(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_runs, "READ_MOST", 3)
    monkeypatch.setattr(protocol, "PAGE", 2)
    for number in range(5):
        Runs(client, NOBODY).start(RunSpec(id=str(number), workflow="ship"))
    found = open_runs.open_runs(client)
    assert found is not None
    assert (found.partial, sum(found.counts.values())) == (True, 4)
