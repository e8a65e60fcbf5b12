"""What a task has created is handed out with it, as on a file: all of it, and nothing of other tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import call
from hitl_cli.postgres.client import PostgresClient

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client

FAR = 4_000_000_000_000
PARENTS = {
    "r:1": "r",
    "r:1.1": "r:1",
    "r:1.1.1": "r:1.1",
    "r:1.1.1.1": "r:1.1.1",
    "r:2": "r",
    "r:3": "r",
    "r:2.1": "r:2",
}
STEPS = [id for id in PARENTS if id != "r:2.1"]
GLOBAL = {"r:1.1", "r:2", "r:3"}


def ask(client: Client, kind: str, **data: Any) -> Any:
    answer = call(client, kind, **data)
    assert answer.status == 200, answer.message()
    return msgspec.json.decode(answer.data)


def creation(id: str) -> dict[str, Any]:
    tags = {"resonate:origin": "r", "resonate:parent": PARENTS.get(id, id)}
    tags["resonate:branch"] = id if id in GLOBAL else tags["resonate:parent"]
    if id in ("r", "r:2"):
        tags |= {"resonate:target": "poll://any@default", "resonate:scope": "global"}
    elif id in GLOBAL:
        tags |= {"resonate:external": "true", "resonate:scope": "global"}
    return {"id": id, "timeoutAt": FAR, "param": {}, "tags": tags}


def fenced(client: Client, task: str, id: str) -> None:
    action = {"kind": "promise.create", "head": {"corrId": "", "version": ""}, "data": creation(id)}
    ask(client, "task.fence", id=task, version=1, action=action)


def created(client: Client) -> dict[str, list[str]]:
    """Have two tasks create steps, and return what is handed out with each when it is held again."""
    ask(client, "promise.create", **creation("r"))
    ask(client, "task.acquire", id="r", version=0, pid="p", ttl=60_000)
    for id in STEPS:
        fenced(client, "r", id)
    ask(client, "task.acquire", id="r:2", version=0, pid="p", ttl=60_000)
    fenced(client, "r:2", "r:2.1")
    found = {}
    for task in ("r", "r:2"):
        ask(client, "task.release", id=task, version=1)
        held = ask(client, "task.acquire", id=task, version=1, pid="p", ttl=60_000)
        found[task] = sorted(one["id"] for one in held["preload"])
    return found


def test_what_a_task_has_created_is_handed_out_with_it(database: str, tmp_path: Path) -> None:
    with EmbeddedClient(tmp_path / "hitl.db") as file, PostgresClient(database) as client:
        assert created(client) == created(file) == {"r": sorted(STEPS), "r:2": ["r:2.1"]}
