"""People answer the interrupts of LangChain's HumanInTheLoopMiddleware."""

import asyncio
from typing import Any

import pytest

from tests.agents.frameworks import need

need("langchain", "langgraph")

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from hitl_cli.agents.langgraph import arun_with_approval, run_with_approval
from hitl_cli.errors import BadInput, NotCovered, TimedOut
from hitl_cli.requests.decision import Rejected
from hitl_cli.testing import hitl_test

type Call = tuple[str, dict[str, Any], str]

DELETE: Call = ("delete", {"path": "build"}, "call-1")
DIST: Call = ("delete", {"path": "dist"}, "call-2")


class Scripted(BaseChatModel):
    """A model that makes calls in turns, and then says what they returned."""

    turns: list[list[Any]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Any:  # noqa: ARG002
        return self

    def _generate(self, messages: Any, *_: Any, **__: Any) -> Any:
        made = sum(isinstance(message, AIMessage) for message in messages)
        if made < len(self.turns):
            calls = [{"name": name, "args": args, "id": id} for name, args, id in self.turns[made]]
            said = AIMessage("", tool_calls=calls)
        else:
            said = AIMessage("; ".join(m.content for m in messages if isinstance(m, ToolMessage)))
        return ChatResult(generations=[ChatGeneration(message=said)])


class Desk:
    """An agent with a tool that needs approval, and the calls that were made."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.saver = InMemorySaver()

    def agent(self, *turns: list[Call], on: Any = True, mode: str = "batched") -> Any:
        def delete(path: str) -> str:
            """Delete a folder."""
            self.calls.append(path)
            return f"deleted {path}"

        middleware = HumanInTheLoopMiddleware({"delete": on}, interrupt_mode=mode)
        return create_agent(
            Scripted(turns=list(turns)),
            [delete],
            middleware=[middleware],
            checkpointer=self.saver,
            name="cleaner",
        )

    def run(self, agent: Any, hitl: Any, **options: Any) -> str:
        given = {"messages": "Clean up"}
        result = run_with_approval(agent, given, thread="clean-1", hitl=hitl.client, **options)
        return str(result["messages"][-1].content)


@pytest.fixture
def desk() -> Desk:
    return Desk()


MODES = pytest.mark.parametrize("mode", ["batched", "per_call"])


@MODES
def test_an_approved_call_runs_and_the_person_saw_it_exactly(desk: Desk, mode: str) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        assert desk.run(desk.agent([DELETE], mode=mode), hitl, to="reviewer") == "deleted build"
        [request] = hitl.decided()
        shown = hitl.client.show(request)
        assert (shown.arguments, shown.to, shown.details) == ({"path": "build"}, ("reviewer",), None)
        assert shown.prompt == "`cleaner` wants to use `delete`: `build`"


@MODES
def test_a_rejected_call_does_not_run_and_the_model_is_told_why(desk: Desk, mode: str) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").rejects("delete", reason="still needed")
        assert "rejected by reviewer: still needed" in desk.run(desk.agent([DELETE], mode=mode), hitl)
    assert desk.calls == []


@MODES
def test_a_call_runs_with_the_arguments_as_the_person_has_changed_them(desk: Desk, mode: str) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", arguments={"path": "build/cache"})
        assert desk.run(desk.agent([DELETE], mode=mode), hitl).endswith("deleted build/cache")
    assert desk.calls == ["build/cache"]


def test_what_the_middleware_lets_nobody_edit_cannot_be_changed(desk: Desk) -> None:
    agent = desk.agent([DELETE], on={"allowed_decisions": ["approve", "reject"]})
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", arguments={"path": "all"})
        with pytest.raises(BadInput):
            desk.run(agent, hitl)
    assert desk.calls == []


@MODES
def test_several_are_asked_at_once_and_a_thread_that_waits_asks_each_once(desk: Desk, mode: str) -> None:
    agent = desk.agent([DELETE, DIST], mode=mode)
    with hitl_test() as hitl:
        for _ in range(2):
            with pytest.raises(TimedOut):
                desk.run(agent, hitl, timeout="5m")
        assert len(hitl.pending()) == 2
        hitl.person("reviewer").approve("dist")
        hitl.person("reviewer").reject("build", reason="no")
        result = desk.run(desk.agent([DELETE, DIST], mode=mode), hitl)
        assert "rejected by reviewer: no" in result
        assert result.endswith("deleted dist")
        assert len(hitl.decided()) == 2
    assert desk.calls == ["dist"]


def test_a_thread_may_wait_several_times(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        assert desk.run(desk.agent([DELETE], [DIST]), hitl) == "deleted build; deleted dist"


@MODES
def test_a_model_that_repeats_the_id_of_a_call_is_asked_again(desk: Desk, mode: str) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", times=1).rejects("delete", reason="once")
        desk.run(desk.agent([DELETE], [DELETE], mode=mode), hitl)
        assert len(hitl.decided()) == 2
    assert desk.calls == ["build"]


def test_an_approval_may_be_used_once(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        assert desk.run(desk.agent([DELETE]), hitl, options={"once": True}) == "deleted build"
        [request] = hitl.decided()
        with pytest.raises(NotCovered):
            hitl.client.wait(request).consume()


def test_a_graph_runs_asynchronously_too(desk: Desk) -> None:
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete")
        running = arun_with_approval(
            desk.agent([DELETE]), {"messages": "Go"}, thread="t", hitl=hitl.async_client
        )
        assert asyncio.run(running)["messages"][-1].content == "deleted build"


@MODES
def test_a_person_answers_in_place_of_a_tool(desk: Desk, mode: str) -> None:
    agent = desk.agent([DELETE], on={"allowed_decisions": ["respond"]}, mode=mode)
    with hitl_test() as hitl:
        hitl.person("reviewer").approves("delete", data="it is gone already")
        assert desk.run(agent, hitl) == "it is gone already"
    assert desk.calls == []


def test_a_rejection_that_the_middleware_does_not_take_stops_the_run(desk: Desk) -> None:
    agent = desk.agent([DELETE], on={"allowed_decisions": ["approve"]})
    with hitl_test() as hitl:
        hitl.person("reviewer").rejects("delete", reason="no")
        with pytest.raises(Rejected, match="no"):
            desk.run(agent, hitl)
    assert desk.calls == []


def test_a_description_is_shown_unless_it_only_repeats_the_call(desk: Desk) -> None:
    agent = desk.agent([DELETE], on={"allowed_decisions": ["approve"], "description": "Frees 3 GB."})
    with hitl_test() as hitl:
        with pytest.raises(TimedOut):
            desk.run(agent, hitl, timeout="5m")
        [request] = hitl.pending()
        assert hitl.client.show(request.id).details == "Frees 3 GB."


def test_interrupts_of_other_kinds_are_left_in_the_result() -> None:
    graph = StateGraph(dict)
    graph.add_node("ask", lambda _: {"said": interrupt("what now?")})
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver())
    with hitl_test() as hitl:
        result = run_with_approval(compiled, {}, thread="t", hitl=hitl.client)
    assert [each.value for each in result["__interrupt__"]] == ["what now?"]
