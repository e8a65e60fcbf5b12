"""Every command's help ends with examples. Those that end by themselves are run, the others are parsed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from hitl_cli import plugins
from hitl_cli.cli.app import app
from hitl_cli.cli.examples import EXAMPLES
from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from tests.conftest import Hitl

STAYS = (
    "demo", "worker", "server", "gateway", "dev", "review", "open", "ask", "wait", "postgres", "hook",
    "checkpoint", "login", "logout", "whoami",
)  # fmt: skip
"""Commands that need a terminal, a browser, a server, a key or stdin, or run until something happens."""

WAITS = ("--wait", "--watch")

LINES = [line for lines in EXAMPLES.values() for line in lines]
FORM = {"type": "object", "properties": {"percent": {"type": "integer"}}}
SETTINGS = """[people.reviewer]
notify = ["console"]
[people.lead]
[groups.ops]
members = ["lead"]
"""


def words_of(line: str) -> list[str]:
    """Return the arguments of the hitl command on a line."""
    return shlex.split(line.partition(" && ")[0])[1:]


def test_every_command_has_examples() -> None:
    own = {one.name for one in plugins.every("hitl.commands").values() if one.package == plugins.OWN}
    assert set(EXAMPLES) == own


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_as_it_stands(line: str) -> None:
    words = words_of(line)
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        context = command.make_context("hitl", list(words))
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, words)


def test_each_line_that_ends_by_itself_succeeds(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    run = [words for line in LINES if (words := words_of(line))[0] not in STAYS and words[-1] not in WAITS]
    run = [words for words in run if not any("postgresql://" in word for word in words)]
    run = [words for words in run if words[:2] not in (["people", "add"], ["people", "revoke"])]  # need a key
    run = [words for words in run if words[-1] != "ID"]  # of a token or a rule, which differs each time
    if not hitl.on_a_file:
        run = [words for words in run if words[0] != "backup"]
    started = next(words for words in run if words[0] == "start")
    hitl.ok(*started)
    put(hitl, "release-1:1", Question(prompt="Ship?", form=FORM))
    put(hitl, "release-2:1", Question(prompt="Ship?"))
    put(hitl, "region-1", Question(prompt="Which region?", choices=("eu", "us")))
    put(hitl, "invoice-7", Question(prompt="Pay?", reassign="anyone", extend=10**9))
    put(hitl, "hitl-001:1", Question(prompt="Ship 1.4.2?"))
    put(hitl, "hitl-001:2", Question(prompt="Ship 1.4.2?"))
    for words in run:
        if words[0] in ("approve", "reject", "cancel") and words[1] == "hitl-001":
            continue  # they exclude each other: below
        if words[0] != "start":
            named = "hitl-001" if words[0] == "status" else "hitl-001:1"  # two requests are open
            hitl.ok(*[named if word == "hitl-001" else word for word in words])
    hitl.ok("approve", "hitl-001:1")
    hitl.ok("reject", "hitl-001", "--reason", "over budget")  # which is then the only one open
    hitl.ok("cancel", "hitl-001", "--reason", "no longer needed")
