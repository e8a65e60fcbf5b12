"""Wrong command lines: one sentence and exit 2; and help is never a yes."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Hitl


@pytest.mark.parametrize("prompt", ["--help", "-h", "--version", "--no-wait", "- item"])
def test_a_prompt_that_is_an_option_is_no_yes(hitl: Hitl, prompt: str) -> None:
    for more in ([], ["--to", "ops"]):
        assert hitl.run("ask", prompt, *more).returncode == 2
    assert not hitl.database.exists()
    hitl.ok("ask", "?", "--id", "x", "--no-wait")
    hitl.fails(2, "ask", "--no-wait", "--id", "x", code="bad-usage")


@pytest.mark.parametrize(
    "args", [["wait", "--help"], ["start", "run", "--wait", "-h"], ["approve", "run", "--help"]]
)
def test_help_beside_anything_else_did_nothing_and_says_so(hitl: Hitl, args: list[str]) -> None:
    hitl.fails(2, *args, code="bad-usage")


def test_help_that_was_asked_for_is_no_failure(hitl: Hitl) -> None:
    assert "ID" in hitl.ok("show", "--help")
    assert "create" in hitl.ok("token")
    assert "approve" in hitl.ok()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["comment", "run:1", "- fixed"], "- fixed"),
        (["start", "x", "-5"], "-5"),
        (["ask", "- item"], "- item"),
    ],
)
def test_a_text_with_a_dash_gets_the_line_that_works(hitl: Hitl, args: list[str], text: str) -> None:
    told = hitl.fails(2, *args, code="bad-usage")
    line = shlex.split(told.strip().partition("before it: ")[2])
    assert line == ["hitl", *args[:-1], "--", text]
    assert hitl.run(*line[1:]).returncode != 2 if args[0] == "comment" else True


def test_a_misspelled_option_gets_the_nearest(hitl: Hitl) -> None:
    assert "--reason" in hitl.fails(2, "reject", "x", "--reson", "y", code="bad-usage")


@pytest.mark.parametrize("args", [["nope"], ["show"], ["pending", "--limit", "x"], ["status", "--state"]])
def test_what_the_parser_refuses_is_one_line_with_a_code(hitl: Hitl, args: list[str]) -> None:
    assert len(hitl.fails(2, *args, code="bad-usage").splitlines()) == 1


def test_a_command_with_an_id_that_a_program_chose_can_be_copied(hitl: Hitl) -> None:
    hitl.ok("start", "$(touch pwned)")
    told = hitl.fails(3, "approve", "$(touch pwned)", code="nothing-waiting")
    line = told.split("`")[1]
    subprocess.run(["bash", "-c", line.replace("hitl", "echo", 1)], cwd=hitl.folder, check=True)
    assert shlex.split(line) == ["hitl", "status", "$(touch pwned)"]
    assert not (hitl.folder / "pwned").exists()
