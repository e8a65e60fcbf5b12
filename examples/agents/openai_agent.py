"""An agent of the OpenAI Agents SDK that asks before it deletes anything.

pip install 'resonate-hitl[openai-agents]'
python examples/agents/openai_agent.py build &
hitl approve --match '*'
hitl reject --match '*' --reason "still needed"

The model is a fixed plan here, so that it runs without an account. Use yours: Agent(model="gpt-5.2").
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from hitl_cli.agents.openai_agents import run_with_approval


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


class Plan(Model):
    """A model that deletes one path, and then says what came of it."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def get_response(self, *_: Any, input: Any, **__: Any) -> ModelResponse:  # noqa: A002 - as in Model
        """Return the next step of the plan."""
        results = [item["output"] for item in input if "output" in item] if isinstance(input, list) else []
        output: Any = (
            ResponseOutputMessage(
                id="said",
                type="message",
                role="assistant",
                status="completed",
                content=[ResponseOutputText(type="output_text", text=results[-1], annotations=[])],
            )
            if results
            else ResponseFunctionToolCall(
                type="function_call",
                call_id="call-1",
                name="delete",
                arguments=json.dumps({"path": self.path}),
            )
        )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        """Streaming is not used here."""
        raise NotImplementedError


async def main(path: str) -> None:
    """Run the agent. A process that is started again goes on where this one was."""
    set_tracing_disabled(True)
    agent = Agent(name="cleaner", model=Plan(path), tools=[delete])
    result = await run_with_approval(agent, f"Delete {path}", id=f"clean-{Path(path).name}")
    print(result.final_output)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
