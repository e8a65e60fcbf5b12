"""A LangChain agent on LangGraph that asks before it deletes anything.

pip install 'resonate-hitl[langgraph]'
python examples/agents/langgraph_agent.py &
hitl approve --match '*'

With a checkpointer that outlives the process, such as PostgresSaver, another process goes on with the thread.
The model is a fixed plan here, so that it runs without an account. Use yours: create_agent("openai:gpt-5.2").
"""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from hitl_cli.agents.langgraph import run_with_approval


def delete(path: str) -> str:
    """Delete a path."""
    return f"deleted {path}"


class Plan(BaseChatModel):
    """A model that deletes two paths at once, and then says what came of it."""

    @property
    def _llm_type(self) -> str:
        return "plan"

    def bind_tools(self, _tools: Any, **_: Any) -> Any:
        """Return this model: its plan needs no tools."""
        return self

    def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
        results = [message.content for message in messages if isinstance(message, ToolMessage)]
        calls = [
            {"name": "delete", "args": {"path": path}, "id": f"call-{path}"} for path in ("build", "dist")
        ]
        said = AIMessage("\n".join(results)) if results else AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


def main() -> None:
    """Run the agent."""
    agent = create_agent(
        Plan(),
        [delete],
        middleware=[HumanInTheLoopMiddleware({"delete": True})],
        checkpointer=InMemorySaver(),
        name="cleaner",
    )
    result = run_with_approval(agent, {"messages": "Clean up"}, thread="clean-1")
    print(result["messages"][-1].content)


if __name__ == "__main__":
    main()
