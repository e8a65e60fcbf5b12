"""`hitl init`: a new project, as a new user has it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.admin.project import FILES, NEEDED, PACKAGE, new_project
from tests.conftest import wait_until
from tests.gateway.test_dev import DevProcess

if TYPE_CHECKING:
    from tests.conftest import Hitl

LINTERS = (
    ("ruff", "check", "--isolated", "--select", "ALL", "--ignore", "CPY001,D203,D213,D103,INP001,S101"),
    ("ruff", "format", "--isolated", "--check"),
    ("mypy", "--config-file", "pyproject.toml"),
    ("pytest", "-q", "-p", "no:cacheprovider"),
)  # fmt: skip


def test_a_new_project_serves_its_workflow_at_once(hitl: Hitl) -> None:
    told = hitl.run("init", "my project")
    assert told.stdout.splitlines() == [f"wrote my project/{name}" for name in FILES]
    assert told.stderr == "Next: cd 'my project' && hitl dev\n"
    hitl.folder /= "my project"
    worker = hitl.worker()
    assert "deploy" in worker.said("serving")
    hitl.ok("start", "release-1", "1.4.2")
    [asked] = hitl.waiting()
    assert asked["prompt"] == "Deploy **1.4.2** to production?"
    hitl.ok("approve", "release-1", "--set", "percent=20")
    assert hitl.ok("wait", "release-1") == '"1.4.2 is out to 20 %"\n'


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_what_it_writes_passes_ruff_mypy_and_its_own_test_and_is_served_by_dev(hitl: Hitl) -> None:
    hitl.ok("init")
    for name, *arguments in LINTERS:
        command = [str(Path(sys.executable).with_name(name)), *arguments, "."]
        done = subprocess.run(
            command, cwd=hitl.folder, env=hitl.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    dev = DevProcess([*hitl.command, "dev", "--port", "0"], hitl.env, hitl.folder)
    try:
        assert "deploy" in dev.said("serving")
        assert wait_until(lambda: dev.get("/ready").text) == "ready\n"
    finally:
        dev.clear_away()


def test_what_is_there_is_kept(hitl: Hitl, tmp_path: Path) -> None:
    mine = {"workflows.py": "# mine\n", "pyproject.toml": "[tool.hitl]\nas = 'ada'\n"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "README.md").symlink_to(tmp_path / "elsewhere")
    assert hitl.ok("init", "--dry-run").splitlines() == [
        "kept workflows.py (it exists)",
        "kept test_workflows.py (workflows.py exists)",
        "kept hitl.toml (pyproject.toml has [tool.hitl])",
        "kept pyproject.toml (it exists)",
        "kept README.md (it exists)",
        "would write .gitignore",
        "would write hitl-worker@.service",
    ]
    assert not (tmp_path / ".gitignore").exists()
    told = hitl.run("init")
    assert "wrote .gitignore" in told.stdout
    assert 'add app = "workflows.py" to pyproject.toml' in told.stderr
    (tmp_path / "pyproject.toml").write_text("[tool.hitl]\napp = 'mine.py'\n")
    assert "app =" not in hitl.run("init").stderr  # a key that is there must not be added again
    assert (tmp_path / "workflows.py").read_text() == mine["workflows.py"]
    assert not (tmp_path / "elsewhere").exists()


def test_the_files_are_printed_and_not_written(hitl: Hitl, tmp_path: Path) -> None:
    printed = hitl.ok("init", "new", "--print")
    assert all(file.text in printed for file in new_project(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written_is_named(hitl: Hitl) -> None:
    (hitl.folder / "file").touch()
    assert "file/below cannot be written" in hitl.fails(2, "init", "file/below", code="bad-file")
    assert "file cannot be written" in hitl.fails(2, "init", "file", code="bad-file")
    assert "/proc/new" in hitl.fails(2, "init", "/proc/new", code="bad-file")
    assert "File name too long" in hitl.fails(2, "init", "x" * 300, code="bad-file")


NAMES = [("Pay & Ship!", "pay-ship"), ("…", "workflows"), ("PyTest", "pytest-workflows")]


def test_no_test_is_written_that_would_import_another_package(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / PACKAGE).touch()
    kept = {file.name: file.kept for file in new_project(tmp_path) if file.kept}
    assert kept == {"test_workflows.py": f"{PACKAGE} exists"}


def test_a_project_is_named_as_nothing_that_it_needs(tmp_path: Path) -> None:
    texts = {file.name: file.text for file in new_project(tmp_path)}
    project = tomllib.loads(texts["pyproject.toml"])
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {re.split(r"[<>=\[]", one)[0] for one in needed} == set(NEEDED)


@pytest.mark.parametrize(("folder", "name"), NAMES)
def test_the_project_has_a_valid_name(tmp_path: Path, folder: str, name: str) -> None:
    texts = {file.name: file.text for file in new_project(tmp_path / folder)}
    assert f'name = "{name}"' in texts["pyproject.toml"]
    assert texts["README.md"].startswith(f"# {name}\n")
