"""The code of the README, tutorial and guides: it can be imported, has the right types, is well-formed."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agents.frameworks import asked_for
from tests.docs.pages import USES, parts
from tests.typescript.conftest import node, packages  # fixtures
from tests.typescript.node import project

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["node", "packages"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorial").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "guides").glob("*.md"))
TSC = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
FRAMEWORKS = {"agents", "langchain", "langgraph", "pydantic_ai"}
NAMED = re.compile(r"# ([\w-]+)\.py\n")


def code(page: Path, kind: str) -> Iterator[str]:
    """Return the blocks of a kind, each with what a comment before it adds."""
    added = ""
    for part in parts(page):
        if part.kind == "file" and not part.text.startswith("# "):
            added = part.text
        elif part.kind == kind:
            yield added + part.text
            added = ""


def needs_a_framework(text: str) -> bool:
    """Whether a block imports an agent framework, and this is not `make frameworks`."""
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    return bool(imported & FRAMEWORKS) and not asked_for()


@pytest.fixture
def written(tmp_path: Path) -> list[Path]:
    """Each block of Python in a file; a page's blocks, and those that it uses, are in one folder."""
    files = []
    for page in PAGES:
        folder = tmp_path / f"{page.parent.name}_{page.stem}".replace("-", "_")
        folder.mkdir()
        for used in [page.parent / name for name in USES.findall(page.read_text())] + [page]:
            for number, text in enumerate(code(used, "python")):
                if needs_a_framework(text):
                    continue
                named = NAMED.match(text)
                files.append(folder / f"{named[1] if named else f'block_{number}'}.py")
                files[-1].write_text(text)
    return files


IMPORTS = """
import pathlib, sys
home = list(sys.path)
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    sys.path[:] = [str(path.parent), *home]
    for module in path.parent.glob("*.py"):
        sys.modules.pop(module.stem, None)
    exec(compile(path.read_text(), name, "exec"), {"__name__": path.stem})
"""


def test_every_block_of_python_that_is_no_program_can_be_imported(written: list[Path]) -> None:
    programs = {
        name for page in PAGES for name in re.findall(r"^\$ python (\S+)", page.read_text(), re.MULTILINE)
    }
    modules = [str(path) for path in written if path.name not in programs]
    assert modules
    subprocess.run([sys.executable, "-c", IMPORTS, *modules], check=True)


TYPES = """
import os, sys
from mypy import api
code = 0
for folder in sys.argv[2:]:
    os.chdir(folder)
    files = sorted(name for name in os.listdir() if name.endswith(".py"))
    checks = ["--check-untyped-defs", "--ignore-missing-imports", "--cache-dir", sys.argv[1]]
    told, _, wrong = api.run(["--config-file=", *checks, *files])
    if wrong:
        code = 1
        print(folder, told)
sys.exit(code)
"""
"""One process checks all pages: to start mypy takes as long as to check one."""


@pytest.mark.heavy
def test_every_block_of_python_has_the_right_types(written: list[Path]) -> None:
    folders = sorted({str(path.parent) for path in written})
    cache = str(ROOT / ".mypy_cache" / "docs")
    done = subprocess.run(
        [sys.executable, "-c", TYPES, cache, *folders],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.heavy
def test_blocks_of_typescript_have_the_right_types(packages: Path, tmp_path: Path) -> None:
    every = [text for page in PAGES for text in code(page, "typescript")]
    shown = [text for text in every if "import " not in text]  # on PostgreSQL: tests/typescript/postgres.ts
    assert len(every) - len(shown) == 1
    folder = project(tmp_path / "project", packages)
    (folder / "shown.ts").write_text(
        'import type { Context } from "@resonatehq/sdk";\n'
        + "".join(
            f"export async function shown{number}(ctx: Context) {{\n{text}\n}}\n"
            for number, text in enumerate(shown)
        )
    )
    done = subprocess.run(
        [folder / "node_modules" / ".bin" / "tsc", *TSC, "shown.ts"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_other_blocks_are_well_formed(page: Path) -> None:
    for text in code(page, "json"):
        json.loads(text)
    for text in code(page, "toml"):
        tomllib.loads(text)
    for text in code(page, "ini"):  # units of systemd set a name several times
        configparser.ConfigParser(strict=False, delimiters="=").read_string(text)
