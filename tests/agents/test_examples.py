"""The examples of agent frameworks do what their docstrings say."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.agents.frameworks import START_S, need
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

need("agents", "langchain", "pydantic_ai")

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(example: str) -> list[list[str]]:
    """Return the commands in an example's docstring, but that which installs it."""
    text = ast.get_docstring(ast.parse((EXAMPLES / "agents" / f"{example}.py").read_text())) or ""
    lines = [line.removesuffix("&") for line in text.splitlines() if line.startswith(("hitl ", "python "))]
    return [shlex.split(line) for line in lines]


def link(hitl: Hitl) -> None:
    (hitl.folder / "examples").symlink_to(EXAMPLES)


def printed(hitl: Hitl, example: str, *, count: int) -> str:
    """Run a program in the background and then the first command; return what the program prints."""
    link(hitl)
    program, answer, *_ = commands(example)
    assert program[0] == "python"
    running = subprocess.Popen(
        [sys.executable, *program[1:]], env=hitl.env, cwd=hitl.folder, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: hitl.database.exists() and len(hitl.json("pending", "--all")) == count, START_S)
    hitl.ok(*answer[1:], "--yes")
    return running.communicate(timeout=START_S)[0]


def test_openai_agent(hitl: Hitl) -> None:
    assert printed(hitl, "openai_agent", count=1) == "deleted build\n"


def test_langgraph_agent(hitl: Hitl) -> None:
    assert printed(hitl, "langgraph_agent", count=2) == "deleted build\ndeleted dist\n"


def test_pydantic_agent_goes_on_in_another_worker_and_no_tool_runs_twice(hitl: Hitl) -> None:
    link(hitl)
    worker, start, *rest = (each[1:] for each in commands("pydantic_agent"))
    first = hitl.worker(*worker[1:])
    hitl.ok(*start)
    first.said("waiting for a person")
    first.kill()
    second = hitl.worker(*worker[1:], "--lease", "1s")
    output = ""
    for command in rest:
        output = hitl.ok(*command)
    assert json.loads(output)["output"] == "deleted build/cache, because I saw build/cache"
    assert "looking into build" in first.lines
    assert second.lines.count("deleting build/cache") == 1
    assert "looking into build" not in second.lines
