"""A client that can open URLs is led to the page of the request, where people sign in, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from hitl_cli.mcp import server as mcp_module
from hitl_cli.mcp.server import McpOptions
from tests.conftest import wait_until
from tests.mcp.scene import REVISIONS, Scene, call, run
from tests.mcp.test_tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl

PAGE = McpOptions(page=lambda id: f"https://hitl.example.org/r/{id}")


@pytest.fixture
def scene(hitl: Hitl) -> Scene:
    return Scene(hitl.url)


class User:
    """What the user of a client is led to, and does."""

    def __init__(self, action: Any = "accept", then: Callable[[], None] = lambda: None) -> None:
        self.action = action
        self.then = then
        self.led: list[Any] = []

    async def __call__(self, _context: Any, params: Any) -> types.ElicitResult:
        self.led.append(params)
        self.then()
        return types.ElicitResult(action=self.action)


@pytest.mark.parametrize("mode", REVISIONS)
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
def test_it_leads_to_the_page_and_what_the_user_says_to_that_decides_nothing(
    scene: Scene, mode: str, action: str
) -> None:
    user = User(action)

    async def work() -> None:
        async with scene.client(mode, options=PAGE, elicitation_callback=user) as client:
            asked = asyncio.create_task(call(client, "ask", prompt="Deploy?"))
            id = await scene.only_id()
            await asyncio.to_thread(wait_until, lambda: user.led)
            [page] = user.led
            assert (page.mode, page.url) == ("url", f"https://hitl.example.org/r/{id}")
            scene.decide(id)
            assert (await asked)["id"] == id
            assert scene.open_ids() == []

    run(work)


def test_a_user_who_is_slow_to_open_it_does_not_hold_the_answer(scene: Scene) -> None:
    async def never(_context: Any, _params: Any) -> types.ElicitResult:
        await asyncio.sleep(90)
        raise AssertionError

    async def work() -> None:
        async with scene.client("legacy", options=PAGE, elicitation_callback=never) as client:
            scene.soon("ask-d")
            assert (await call(client, "ask", prompt="Deploy?", id="ask-d"))["approved"] is True

    run(work)


@pytest.mark.parametrize("mode", REVISIONS)
def test_without_a_gateway_or_the_capability_nobody_is_led(
    scene: Scene, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_module, "HOLD_S", 0.05)
    user = User()

    async def work() -> None:
        async with scene.client(mode, elicitation_callback=user) as client:
            await call(client, "ask", prompt="A?")
        async with scene.client(mode, options=PAGE) as client:
            assert (await call(client, "ask", prompt="B?"))["url"]
        assert user.led == []

    run(work)


def test_a_state_that_was_changed_is_refused(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client("2026-07-28", options=PAGE, elicitation_callback=User()) as client:
            first = await client.session.call_tool("ask", {"prompt": "A?"}, allow_input_required=True)
            assert isinstance(first, types.InputRequiredResult)
            assert first.request_state is not None
            for arguments, state in (({"prompt": "A?"}, "other"), ({"prompt": "B?"}, first.request_state)):
                with pytest.raises(MCPError) as error:
                    await client.session.call_tool(
                        "ask", arguments, request_state=state, allow_input_required=True
                    )
                assert error.value.code == types.INVALID_PARAMS
            assert len(scene.open_ids()) == 1

    run(work)


def test_a_client_that_knows_tasks_is_led_first(scene: Scene) -> None:
    user = User(then=lambda: scene.soon("ask-a"))

    async def work() -> None:
        async with scene.client(
            "2026-07-28", options=PAGE, elicitation_callback=user, extensions=[Tasks()]
        ) as client:
            assert (await call(client, "ask", prompt="A?", id="ask-a"))["approved"] is True
            assert len(user.led) == 1

    run(work)
