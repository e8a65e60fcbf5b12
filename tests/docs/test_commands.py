"""The commands of the README and the docs are run as they stand (see pages.py)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from hitl_cli.cli.app import app
from tests.docs.pages import Run, hitl_commands, parts

if TYPE_CHECKING:
    from tests.conftest import Hitl

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference" / "cli.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {GENERATED})]
RUN = [
    page
    for page in PAGES
    if any(
        part.mark == "runs" or (part.kind in ("console", "hidden") and not part.mark) for part in parts(page)
    )
]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_command_prints_what_the_page_shows(hitl: Hitl, page: Path) -> None:
    Run(hitl).page(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_that_hitl_takes(page: Path) -> None:
    for part in parts(page):
        if part.mark == "not read" or part.kind not in ("", "sh", "console"):
            continue
        lines = [line.strip() for line in part.text.replace("\\\n", "").splitlines()]
        prompts = [line for line in lines if line.startswith("$ ")]
        for line in prompts or lines:
            for words in hitl_commands(line):
                read(words)


def read(words: list[str]) -> None:
    """Parse a command line as hitl does; a mistake raises."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        context = command.make_context("hitl", list(words))
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, words)
