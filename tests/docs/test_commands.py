"""The commands of the README and the docs are run as they stand (see pages.py)."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from hitl_cli.cli.app import app
from tests.docs.pages import WITH, Run, hitl_commands, parts
from tests.docs.services import HEAVY, SERVICES

if TYPE_CHECKING:
    from tests.conftest import Hitl

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference" / "cli.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {GENERATED})]
PROGRAM = re.compile(r"^ *(\$ |hitl |curl |docker |export |make |pip |psql )", re.MULTILINE)
"""How a line of commands begins, which is in no indented block."""
COMMANDS = ("sh", "console", "hidden")
AFTERNOON = "deploy-for-a-team"
"""A page that tests/deploy/test_afternoon.py runs, with all that it installs."""
UNTAUGHT = ("reference", "explanation")
NOT_RUN = 16
"""How many blocks say why they cannot be run."""


def services(page: Path) -> list[str]:
    return [name for names in WITH.findall(page.read_text()) for name in names.split()]


def is_slow(page: Path) -> bool:
    """Whether `make heavy` runs the page: it needs a server for that, or starts pytest several times."""
    return page.stem == "testing" or bool(HEAVY & {*services(page)})


RUN = [
    pytest.param(page, id=page.stem, marks=pytest.mark.heavy if is_slow(page) else ())
    for page in PAGES
    if any(part.kind in COMMANDS and not part.not_run for part in parts(page)) and page.stem != AFTERNOON
]


@pytest.mark.parametrize("page", RUN)
def test_every_command_prints_what_the_page_shows(hitl: Hitl, page: Path) -> None:
    run = Run(hitl)
    with contextlib.ExitStack() as running:
        for name in services(page):
            running.enter_context(SERVICES[name](run, page))
        run.page(page)


def test_a_block_of_commands_is_run_or_says_why_not() -> None:
    found = [part for page in PAGES for part in parts(page)]
    assert len([part for part in found if part.not_run]) == NOT_RUN
    assert {part.kind for part in found if part.not_run} <= {*COMMANDS}
    found = [part for page in PAGES if page.parent.name not in UNTAUGHT for part in parts(page)]
    assert not [part for part in found if part.kind in ("bash", "shell")]  # which are not run: `sh` is
    assert not [part.text for part in found if not part.kind and PROGRAM.search(part.text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_that_hitl_takes(page: Path) -> None:
    own = {"count"} if "plugin" in services(page) else set()
    for part in parts(page):
        if part.kind not in COMMANDS:
            continue
        lines = [line.strip() for line in part.text.replace("\\\n", "").splitlines()]
        prompts = [line for line in lines if line.startswith("$ ")]
        for line in prompts or lines:
            for words in hitl_commands(line):
                if words[0] not in own:
                    read(words)


def read(words: list[str]) -> None:
    """Parse a command line as hitl does; a mistake raises."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        context = command.make_context("hitl", list(words))
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, words)
