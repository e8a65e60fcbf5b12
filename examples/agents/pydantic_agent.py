"""A pydantic-ai agent, run as a workflow, that asks before it deletes anything.

pip install 'resonate-hitl[pydantic-ai]'
hitl worker --app examples/agents/pydantic_agent.py
hitl start clean-1 '{"user_prompt": "Clean up"}' --workflow cleaner.run
hitl approve clean-1
hitl wait clean-1

Stop the worker while a person decides: another one goes on, and no tool runs twice.
The model is a fixed plan here, so that it runs without an account. Use yours: Agent("openai:gpt-5.2", ...).
"""

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from resonate.types import DurableRegistry

from hitl_cli.agents.pydantic_ai import HumanApproval, durable_agent


def plan(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """Return the next step: look, delete, and say what came of it."""
    results = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    steps = [
        ToolCallPart("look", {"folder": "build"}, "call-1"),
        ToolCallPart("delete", {"path": "build/cache"}, "call-2"),
        TextPart(f"{results[-1].content}, because I {results[0].content}" if results else ""),
    ]
    return ModelResponse([steps[len(results)]])


agent = Agent(FunctionModel(plan), name="cleaner", capabilities=[HumanApproval(deadline="2d")])


@agent.tool_plain
def look(folder: str) -> str:
    """Look into a folder."""
    print(f"looking into {folder}", flush=True)
    return f"saw {folder}/cache"


@agent.tool_plain(requires_approval=True)
def delete(path: str) -> str:
    """Delete a path."""
    print(f"deleting {path}", flush=True)
    return f"deleted {path}"


def register(resonate: DurableRegistry) -> None:
    """Register the agent as the workflow `cleaner.run`."""
    durable_agent(agent, resonate)
