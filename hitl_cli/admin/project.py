"""`hitl init`: the files of a new project."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli import __version__
from hitl_cli.errors import BadInput
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS, TEST, SETTINGS = "workflows.py", "test_workflows.py", "hitl.toml"

FILES = (WORKFLOWS, TEST, SETTINGS, "pyproject.toml", "README.md", ".gitignore", "hitl-worker@.service")
"""The files of a project, in the order in which they are written. The unit is that of deploy/systemd."""

UNNAMED = "workflows"
"""The name of a project whose folder has no letter or digit in its name."""

NEEDED = ("resonate-hitl", "mypy", "pytest", "ruff")
"""What a project depends on: its own name must be another."""

PACKAGE = f"{UNNAMED}/__init__.py"
"""Python takes such a package for the module of the workflows, which the test imports."""


class ProjectFile(Struct, frozen=True, kw_only=True):
    """One file of a project: the text to write, or why the file is not changed."""

    name: str
    text: str
    kept: str | None = None


def new_project(folder: Path) -> list[ProjectFile]:
    """Return the files of a project in a folder, which need not exist. Writes nothing. Raises BadInput."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or UNNAMED
    if name in NEEDED:
        name = f"{name}-{UNNAMED}"
    try:
        kept = {file: _reason_to_keep(folder, file) for file in FILES}
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {error.strerror}.", code="bad-file") from error
    return [ProjectFile(name=file, text=_text(file, name), kept=why) for file, why in kept.items()]


def write(folder: Path, project: list[ProjectFile]) -> None:
    """Write the files that are not kept. Raises BadInput; an existing file is never overwritten."""
    at = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in project:
            if file.kept is None:
                at = folder / file.name
                with at.open("x", encoding="utf-8") as stream:
                    stream.write(file.text)
    except OSError as error:
        raise BadInput(f"{at} cannot be written: {error.strerror}.", code="bad-file") from error


def _text(file: str, name: str) -> str:
    """Return the content of a file of a project."""
    template = files("hitl_cli.admin").joinpath("project_files", f"{file.lstrip('.')}.template")
    return template.read_text(encoding="utf-8").replace("@NAME@", name).replace("@VERSION@", __version__)


def _reason_to_keep(folder: Path, file: str) -> str | None:
    """Return why a file must not be written, None if it can be."""
    if (folder / file).exists(follow_symlinks=False):
        return "it exists"
    if file == TEST and (folder / WORKFLOWS).exists(follow_symlinks=False):
        return f"{WORKFLOWS} exists"
    if file == TEST and (folder / PACKAGE).exists():
        return f"{PACKAGE} exists"
    pyproject = folder / "pyproject.toml"
    if file == SETTINGS and pyproject.is_file() and Settings({}, folder).path == pyproject:
        return "pyproject.toml has [tool.hitl]"
    return None
