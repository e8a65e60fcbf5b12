"""The extension tasks: the request is the task, and outlives the process that created it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import mcp_types as types
import pytest
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict, Field

from hitl_cli.mcp.tasks import EXTENSION
from hitl_cli.requests.decision_input import DecisionInput
from tests.mcp.scene import Scene, call, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.client import Client

    from tests.conftest import Hitl

MODE = "2026-07-28"


class Task(types.Result):
    """What `ask` returns instead of an answer."""

    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = Field("task", alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str


class Tasks(ClientExtension):
    """A client that knows tasks, and polls one until it is completed."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self._resolve)]

    async def _resolve(self, task: Task, context: ClaimContext) -> types.CallToolResult:
        while True:
            sent = TaskRequest(method="tasks/get", params=Params(taskId=task.task_id, inputResponses=None))
            found = (await context.session.send_request(sent, Told)).model_dump(by_alias=True)
            if found["status"] == "completed":
                return types.CallToolResult.model_validate(found["result"])
            await asyncio.sleep(0.05)


class Params(types.RequestParams):
    task_id: str = Field(alias="taskId")
    input_responses: dict[str, Any] | None = Field(None, alias="inputResponses")


class TaskRequest(types.Request[Params, str]):
    name_param = "taskId"


class Told(types.Result):
    model_config = ConfigDict(extra="allow")


async def send(client: Client, method: str, id: str, **more: Any) -> dict[str, Any]:
    """Send a request of the extension, and return what is answered."""
    sent = TaskRequest(method=f"tasks/{method}", params=Params(taskId=id, **more))
    return (await client.session.send_request(sent, Told)).model_dump(by_alias=True)


@pytest.fixture
def scene(hitl: Hitl) -> Scene:
    return Scene(hitl.url)


async def ask(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.session.call_tool("ask", arguments, allow_claimed=True)
    assert isinstance(result, Task)
    return result.model_dump(by_alias=True)


def test_the_request_is_the_task_and_outlives_its_process(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client(MODE, extensions=[Tasks()]) as client:
            task = await ask(client, prompt="Deploy?", id="ask-d", deadline="1h")
            assert (task["taskId"], task["status"]) == ("ask-d", "working")
            assert 3_599_000 <= task["ttlMs"] <= 3_601_000
            assert (await send(client, "get", "d"))["status"] == "working"
            assert scene.open_ids() == ["ask-d"]
        scene.decide("ask-d", DecisionInput(verdict="approve", comment="go"))
        async with scene.client(MODE, extensions=[Tasks()]) as again:
            done = await send(again, "get", "d")
            assert (done["status"], done["resultType"]) == ("completed", "complete")
            assert done["result"]["structuredContent"]["approved"] is True
            assert done["result"]["structuredContent"]["comment"] == "go"
            asked = await again.session.call_tool(
                "ask", {"prompt": "Deploy?", "id": "ask-d"}, allow_claimed=True
            )
            assert isinstance(asked, types.CallToolResult)  # it is decided: there is nothing to wait for

    run(work)


def test_a_rejection_completes_a_task_and_a_cancellation_cancels_it(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client(MODE, extensions=[Tasks()]) as client:
            await ask(client, prompt="A?", id="ask-a")
            scene.decide("ask-a", DecisionInput(verdict="reject", reason="no"))
            done = await send(client, "get", "a")
            assert done["result"]["structuredContent"]["state"] == "rejected"
            assert (done["status"], done["result"]["isError"]) == ("completed", False)
            await ask(client, prompt="B?", id="ask-b")
            assert "status" not in await send(
                client, "update", "b", inputResponses={"x": {"action": "accept"}}
            )
            for _ in range(2):
                await send(client, "cancel", "b")
            assert (await send(client, "get", "b"))["status"] == "cancelled"
            await send(client, "cancel", "a")
            assert (await send(client, "get", "a"))["status"] == "completed"

    run(work)


def test_an_unknown_task_and_that_of_another_is_an_error(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client(MODE, person="other", extensions=[Tasks()]) as other:
            await ask(other, prompt="Theirs?", id="ask-theirs")
        async with scene.client(MODE, extensions=[Tasks()]) as client:
            for method in ("get", "update", "cancel"):
                for id in ("nothing", "theirs"):
                    with pytest.raises(MCPError) as error:
                        await send(client, method, id)
                    assert error.value.code == types.INVALID_PARAMS
        assert scene.open_ids() == ["ask-theirs"]

    run(work)


def test_a_client_without_the_extension_gets_no_task(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitl_cli.mcp.server.HOLD_S", 0.05)

    async def work() -> None:
        for mode, extensions in ((MODE, []), ("legacy", [advertise(EXTENSION)])):
            async with scene.client(mode, extensions=extensions) as client:
                assert (await call(client, "ask", prompt="A?", id="ask-a"))["state"] == "pending"
        async with scene.client(MODE) as client:
            for method in ("get", "update", "cancel"):
                with pytest.raises(MCPError) as error:
                    await send(client, method, "a")
                assert error.value.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
        assert scene.open_ids() == ["ask-a"]

    run(work)
