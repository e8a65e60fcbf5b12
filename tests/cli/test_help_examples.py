"""Every command's help ends with examples, and each of their lines is one that the command takes."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from hitl_cli import plugins
from hitl_cli.cli.app import app
from hitl_cli.cli.examples import EXAMPLES


def test_every_command_has_examples() -> None:
    own = {one.name for one in plugins.every("hitl.commands").values() if one.package == plugins.OWN}
    assert set(EXAMPLES) == own


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_a_line_is_read_as_it_stands(line: str) -> None:
    words = shlex.split(line.partition(" && ")[0])[1:]
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        context = command.make_context("hitl", list(words))
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, words)
