"""What stands between the SDK and its network: a task that fails in the SDK's hands."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from resonate.error import PlatformError, SerializationError, ServerError

from hitl_cli.activity import Watched

if TYPE_CHECKING:
    from hitl_cli.activity import Event

RELEASE = '{"kind":"task.release","head":{"corrId":"c1","version":"v"},"data":{"id":"a","version":1}}'


class Server:
    """Stands for a server that answers everything with one status: no real one can be made to."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[dict[str, Any]] = []

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        del headers
        self.asked.append(json.loads(req))
        promise = {"id": "a", "state": "rejected", "timeoutAt": 1}
        data: Any = {"promise": promise} if self.status == 200 else "no"
        return json.dumps({"kind": self.asked[-1]["kind"], "head": {"status": self.status}, "data": data})


def release_after(error: BaseException, status: int) -> tuple[Server, dict[str, Any], list[str]]:
    """Release a task as the SDK does while it handles an error; return what was asked and answered."""
    server, let_go = Server(status), list[str]()
    events: list[Event] = []
    watched = Watched(server, events.append, let_go.append, lambda: 0)

    async def scenario() -> str:
        try:
            raise error  # noqa: TRY301
        except BaseException:  # noqa: BLE001
            return await watched.send(RELEASE)

    return server, json.loads(asyncio.run(scenario())), let_go


@pytest.mark.parametrize("status", [200, 409])
def test_what_cannot_be_written_down_fails_the_run_and_the_sdk_is_content(status: int) -> None:
    error = PlatformError([SerializationError(TypeError("no JSON"))])
    server, answer, let_go = release_after(error, status)
    [asked] = server.asked
    assert asked["kind"] == "task.fulfill"
    assert asked["data"]["action"]["data"]["state"] == "rejected"
    assert answer["kind"] == "task.release"
    assert (answer["head"]["corrId"], answer["head"]["status"]) == ("c1", 200)
    assert let_go == ["a"]


def test_what_may_go_better_elsewhere_is_given_back() -> None:
    server, answer, let_go = release_after(PlatformError([ServerError(500, "broken")]), 200)
    assert [asked["kind"] for asked in server.asked] == ["task.release"]
    assert answer["kind"] == "task.release"
    assert let_go == ["a"]
