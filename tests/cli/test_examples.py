"""The examples do what they say: the commands in their docstrings are run as they stand."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.runs import get_run
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(example: str) -> list[list[str]]:
    """Return the commands in an example's docstring, as `hitl` is given them."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{example}.py").read_text())) or ""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("hitl ")]


def run_as_written(hitl: Hitl, example: str) -> object:
    """Run the commands of an example, each once the one before has had its effect; return the last output."""
    (hitl.folder / "examples").symlink_to(EXAMPLES)
    worker, *rest = commands(example)
    assert worker == ["worker", "--app", f"examples/{example}.py"]
    hitl.worker(*worker[1:])
    printed = ""
    for command in rest:
        if command[0] not in ("start", "wait"):
            wait_until(lambda: asks(hitl, rest[0][1]))
        printed = hitl.ok(*command)
    return json.loads(printed)


def asks(hitl: Hitl, run: str) -> bool:
    """Whether a run waits for people, and for nothing else."""
    with hitl.client() as client:
        return get_run(client, run).state == "waiting"


def test_every_example_is_run_here() -> None:
    tested = {"deploy", "fan_out", "expense", "deployment_gate", "content_review", "agent"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_deploy(hitl: Hitl) -> None:
    assert run_as_written(hitl, "deploy") == "1.4.2 is out, approved by ada"


def test_fan_out(hitl: Hitl) -> None:
    assert run_as_written(hitl, "fan_out") == {"legal": "yes", "security": "no: no encryption"}


def test_expense(hitl: Hitl) -> None:
    assert run_as_written(hitl, "expense") == "1800 € paid for laptop from IT"


def test_of_an_expense_its_amount_says_how_many_must_approve_and_never_whoever_handed_it_in(
    hitl: Hitl,
) -> None:
    hitl.worker("--app", str(EXAMPLES / "expense.py"))
    hitl.ok("start", "e", "pencil", "7", "--workflow", "expense", "--as", "lead")
    wait_until(lambda: asks(hitl, "e"))
    assert "started it" in hitl.fails(7, "approve", "e", "--set", "amount=7", "--as", "lead")
    assert "is for" in hitl.fails(7, "approve", "e", "--set", "amount=7", "--as", "clerk")
    assert "amount" in hitl.fails(2, "approve", "e", "--set", "amount=0", "--as", "board")
    hitl.ok("approve", "e", "--set", "amount=7", "--as", "board")
    assert json.loads(hitl.ok("wait", "e")) == "7 € paid for pencil from general"


def test_a_deployment_gate(hitl: Hitl) -> None:
    (hitl.folder / "app.tar").write_bytes(b"content")
    assert run_as_written(hitl, "deployment_gate") == "app.tar is in production"


def test_a_deployment_gate_lets_nothing_else_through_than_what_was_approved(hitl: Hitl) -> None:
    artifact = hitl.folder / "app.tar"
    artifact.write_bytes(b"content")
    hitl.worker("--app", str(EXAMPLES / "deployment_gate.py"))
    hitl.ok("start", "g", "app.tar", "--workflow", "gate")
    wait_until(lambda: asks(hitl, "g"))
    artifact.write_bytes(b"other content")
    hitl.ok("approve", "g", "--as", "ops")
    assert "app.tar is not what ops approved" in hitl.fails(1, "wait", "g")


def test_content_review(hitl: Hitl) -> None:
    assert run_as_written(hitl, "content_review") == "published: Hello world"


def test_an_agent(hitl: Hitl) -> None:
    attic = hitl.folder / "attic"
    attic.mkdir()
    for name in ("cache.tmp", "photo.jpg"):
        (attic / name).touch()
    assert run_as_written(hitl, "agent") == [
        "found cache.tmp, photo.jpg",
        "deleted attic/cache.tmp",
        "not allowed to delete attic/photo.jpg: these are the only ones",
    ]
    assert [path.name for path in attic.iterdir()] == ["photo.jpg"]
