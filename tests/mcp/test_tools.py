"""The tools ask, wait, list and take back, with the official client of both revisions. None decides."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.shared.exceptions import MCPError

from hitl_cli.client.connect import connect
from hitl_cli.inbox import Inbox
from hitl_cli.mcp import server as mcp_module
from hitl_cli.mcp.server import McpOptions
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from tests.mcp.scene import REVISIONS, Scene, call, refused, run

if TYPE_CHECKING:
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")

TOOLS = {
    "ask",
    "wait",
    "answer_back",
    "consume",
    "take_back",
    "pending",
    "show",
    "history",
    "approval_prompt",
}

READS = {"wait", "pending", "show", "history"}


@pytest.fixture
def scene(hitl: Hitl) -> Scene:
    return Scene(hitl.url)


@pytest.fixture(params=REVISIONS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are held for a moment only."""
    monkeypatch.setattr(mcp_module, "HOLD_S", 0.05)


def test_each_tool_says_what_it_does_and_none_decides(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == TOOLS
            for name, tool in tools.items():
                assert tool.description
                assert tool.input_schema["type"] == "object"
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint == (name in READS)
                assert (tool.output_schema is None) == (name == "approval_prompt")
                said = json.dumps(tool.input_schema)
                assert not {"verdict", "on_deadline", "allow_self", "decision"} & set(said.split('"'))

    run(work)


@pytest.mark.usefixtures("short")
def test_no_call_with_any_argument_settles_a_request_as_approved(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode) as client:
            id = (await call(client, "ask", prompt="Mine?", id="ask-mine"))["id"]
            odd: dict[str, Any] = {
                "id": id,
                "verdict": "approve",
                "choice": "yes",
                "data": True,
                "by": "lead",
            }
            for name in TOOLS:
                await client.call_tool(name, odd)
                await client.call_tool(name, {"id": id} | ({"prompt": "Mine?"} if name == "ask" else {}))
            for name in ("approve", "answer", "decide", "hitl_approve"):
                with pytest.raises(MCPError):
                    await client.call_tool(name, {"id": id})
            shown = await call(client, "show", id=id)
            assert shown["state"] == "canceled"  # by take_back: the only end that an asker can make

    run(work)


def test_the_answer_ends_the_call(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode, options=McpOptions(to=("lead",))) as client:
            scene.soon("ask-d", DecisionInput(verdict="approve", comment="go"))
            made = await call(client, "ask", prompt="Deploy?", id="ask-d", arguments={"version": "1.4.2"})
            assert made["approved"] is True
            assert (made["state"], made["by"], made["comment"]) == ("approved", "lead", "go")
            assert made["arguments"] == {"version": "1.4.2"}
            scene.soon("ask-e", DecisionInput(verdict="approve", data={"percent": 5}))
            less = await call(
                client, "ask", prompt="E?", id="ask-e", arguments={"percent": 50}, editable=True
            )
            assert (less["approved"], less["arguments"], "data" in less) == (True, {"percent": 5}, False)
            scene.soon("ask-c", DecisionInput(choice="eu"))
            assert (await call(client, "ask", prompt="Where?", choices=["eu", "us"], id="ask-c"))[
                "choice"
            ] == "eu"
            scene.soon("ask-n", DecisionInput(verdict="reject", reason="over budget"))
            no = await call(client, "ask", prompt="Buy?", id="ask-n")
            assert (no["state"], no["approved"], no["reason"]) == ("rejected", False, "over budget")
            late = await call(client, "ask", prompt="Soon?", deadline="1ms")
            assert (late["state"], late["approved"]) == ("expired", False)
            listed = (await call(client, "history"))["requests"]
            assert {one["id"]: one["state"] for one in listed} == {
                "ask-d": "approved",
                "ask-e": "approved",
                "ask-c": "approved",
                "ask-n": "rejected",
                late["id"]: "expired",
            }

    run(work)


@pytest.mark.usefixtures("short")
def test_an_approval_is_used_up_once_by_who_asked(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode) as client, scene.client(mode, person="other") as other:
            whole: dict[str, Any] = {"prompt": "Pay?", "arguments": {"amount": 5}}
            id = (await call(client, "ask", **whole, id="ask-pay", once=True))["id"]
            assert await refused(client, "consume", id=id) == "not-decided"
            scene.decide(id)
            assert await refused(other, "consume", id=id) == "not-found"
            used = await call(client, "consume", id=id, key="k")
            assert (used["approved"], used["arguments"]) == (True, {"amount": 5})
            assert (await call(client, "consume", id=id, key="k"))["approved"] is True
            assert await refused(client, "consume", id=id) == "approval-used"
            often = (await call(client, "ask", **whole, id="ask-often"))["id"]
            scene.decide(often)
            assert await refused(client, "consume", id=often) == "not-once"
            no = (await call(client, "ask", **whole, id="ask-no", once=True))["id"]
            scene.decide(no, DecisionInput(verdict="reject"))
            assert await refused(client, "consume", id=no) == "not-covered"

    run(work)


@pytest.mark.usefixtures("short")
def test_what_is_not_answered_in_time_is_waited_for_by_its_id(scene: Scene, mode: str) -> None:
    page = McpOptions(to=("lead",), page=lambda id: f"https://hitl.example.org/r/{id}")

    async def work() -> None:
        async with scene.client(mode, options=page) as client:
            asked = await call(client, "ask", prompt="Deploy?\n\nAll of it.", details={"n": 1})
            id = asked["id"]
            assert (asked["state"], asked["approved"]) == ("pending", False)
            assert asked["url"] == f"https://hitl.example.org/r/{id}"
            assert id in asked["next"]
            again = await call(client, "wait", id=id)
            assert again["state"] == "pending"
            [item] = (await call(client, "pending"))["requests"]
            assert (item["id"], item["title"], item["to"]) == (id, "Deploy?", ["lead"])
            shown = await call(client, "show", id=id)
            assert (shown["details"], shown["prompt"]) == ({"n": 1}, "Deploy?\n\nAll of it.")
            scene.decide(id)
            assert (await call(client, "wait", id=id))["approved"] is True

    run(work)


@pytest.mark.usefixtures("short")
def test_the_same_id_and_question_is_the_same_request(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode) as client:
            for _ in range(2):
                assert (await call(client, "ask", prompt="Deploy?", id="ask-once"))["id"] == "ask-once"
            assert await refused(client, "ask", prompt="Other?", id="ask-once") == "question-differs"
            assert scene.open_ids() == ["ask-once"]
            assert (await call(client, "take_back", id="ask-once"))["state"] == "canceled"
            scene.decide((await call(client, "ask", prompt="B?", id="ask-b"))["id"])
            assert (await call(client, "take_back", id="ask-b"))[
                "state"
            ] == "approved"  # it was decided before

    run(work)


@pytest.mark.usefixtures("short")
def test_an_asker_sees_and_takes_back_only_its_own(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode, person="other") as other:
            await call(other, "ask", prompt="Theirs?", id="ask-theirs")
            await call(other, "ask", prompt="Done?", id="ask-done")
            scene.decide("ask-done")
        async with scene.client(mode) as client:
            for tool in ("wait", "show", "take_back"):
                for id in ("ask-theirs", "ask-done", "nothing"):
                    assert await refused(client, tool, id=id) == "not-found"
            assert await refused(client, "ask", prompt="Theirs?", id="ask-theirs") == "already-exists"
            assert (await call(client, "pending"))["requests"] == []
            assert (await call(client, "history"))["requests"] == []

    run(work)


def test_the_client_hears_that_the_wait_goes_on(
    scene: Scene, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_module, "PROGRESS_S", 0.02)
    heard: list[float] = []

    async def work() -> None:
        async with scene.client(mode) as client:

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                assert (total, message) == (mcp_module.HOLD_S, "waiting for a person to answer ask-p")
                heard.append(progress)
                if len(heard) == 3:
                    scene.soon("ask-p")

            made = await client.call_tool("ask", {"prompt": "P?", "id": "ask-p"}, progress_callback=hear)
            assert made.structured_content["approved"] is True
            assert sorted(heard) == heard

    run(work)


def test_a_call_that_is_canceled_stops_waiting_and_the_request_stays(scene: Scene, mode: str) -> None:
    async def work() -> None:
        async with scene.client(mode) as client:
            held = asyncio.create_task(client.call_tool("ask", {"prompt": "P?", "id": "ask-p"}))
            assert await scene.only_id() == "ask-p"
            held.cancel()
            with pytest.raises(asyncio.CancelledError):
                await held
            assert (await call(client, "show", id="ask-p"))["state"] == "pending"
            scene.decide("ask-p")
            assert (await call(client, "wait", id="ask-p"))["approved"] is True

    run(work)


ODD: list[tuple[str, dict[str, Any], str]] = [
    ("ask", {}, "bad-json"),
    ("ask", {"prompt": 7}, "bad-json"),
    ("ask", {"prompt": "?", "unknown": 1}, "bad-json"),
    ("ask", {"prompt": "?", "on_deadline": "approve", "deadline": "1ms"}, "bad-json"),
    ("ask", {"prompt": "?", "approvals": 0}, "bad-json"),
    ("ask", {"prompt": "?", "choices": "yes"}, "bad-json"),
    ("ask", {"prompt": ""}, "bad-question"),
    ("ask", {"prompt": "?", "deadline": "soon"}, "bad-duration"),
    ("ask", {"prompt": "?", "form": {"type": "nonsense"}}, "bad-form"),
    ("ask", {"prompt": "?", "link": "javascript:alert(1)"}, "bad-question"),
    ("ask", {"prompt": "?", "to": [" "]}, "bad-question"),
    ("ask", {"prompt": "?", "arguments": 2**60}, "bad-question"),
    ("ask", {"prompt": "?" * 1_000_001}, "too-large"),
    ("ask", {"prompt": "?", "id": "x" * 10_000}, "bad-name"),
    ("wait", {}, "bad-json"),
    ("wait", {"id": None}, "bad-json"),
    ("wait", {"id": "x" * 100_000}, "bad-json"),
    ("pending", {"limit": 0}, "bad-json"),
    ("history", {"limit": 10**9}, "bad-json"),
]


@pytest.mark.parametrize(("tool", "arguments", "code"), ODD)
def test_what_cannot_be_asked_is_an_error_of_the_tool_and_creates_nothing(
    scene: Scene, tool: str, arguments: dict[str, Any], code: str
) -> None:
    async def work() -> None:
        async with scene.client("2026-07-28") as client:
            assert await refused(client, tool, **arguments) == code
            assert scene.open_ids() == []

    run(work)


@pytest.mark.usefixtures("short")
def test_a_server_that_is_away_is_an_error_of_the_tool() -> None:
    async def work() -> None:
        async with Scene("http://127.0.0.1:1").client("2026-07-28") as client:
            for tool, arguments in (("ask", {"prompt": "Deploy?"}), ("pending", {}), ("wait", {"id": "x"})):
                assert await refused(client, tool, **arguments) == "server-unreachable"

    run(work)


HOSTILE = "<script>alert(1)</script> \x1b[31m\u202e `x` [a](javascript:1) " + "y" * 5_000


@pytest.mark.usefixtures("short")
def test_what_an_agent_says_is_data(scene: Scene) -> None:
    async def work() -> None:
        async with scene.client("2026-07-28") as client:
            asked = await call(
                client, "ask", prompt=HOSTILE, details={"note": HOSTILE}, tags={"a": HOSTILE[:9]}
            )
            shown = await call(client, "show", id=asked["id"])
            assert (shown["prompt"], shown["details"]) == (HOSTILE, {"note": HOSTILE})

    run(work)


@pytest.mark.usefixtures("short")
def test_what_a_person_asks_back_is_told_by_wait_and_answered(scene: Scene) -> None:
    def ask_back() -> None:
        with connect(scene.url) as client:
            Inbox(client, Actor(person="lead", via="test")).ask_back("ask-m", "Which account?")

    async def work() -> None:
        async with scene.client("2026-07-28", options=McpOptions(to=("lead",))) as client:
            assert "question" not in await call(client, "ask", prompt="Mine?", id="ask-m")
            await asyncio.to_thread(ask_back)
            waited = await call(client, "wait", id="ask-m")
            assert (waited["state"], waited["question"]) == ("pending", "Which account?")
            assert (await call(client, "answer_back", id="ask-m", answer="The second"))["state"] == "pending"
            assert "question" not in await call(client, "wait", id="ask-m")
            shown = await call(client, "show", id="ask-m")
            assert [one["text"] for one in shown["thread"]] == ["Which account?", "The second"]

    run(work)
