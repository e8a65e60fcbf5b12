"""Workers of two languages on one server call each other's workflows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.typescript.conftest import Online

PYTHON_APP = str(Path(__file__).with_name("python_app.py"))
PROGRAMS = ["features_async", "features_generator"]


@pytest.fixture
def python(online: Online) -> Online:
    """A server with a Python worker, over HTTP, whose group is `python`."""
    online.worker("--app", PYTHON_APP, "--group", "python")
    return online


@pytest.mark.parametrize("program", PROGRAMS)
def test_typescript_calls_python(python: Online, program: str) -> None:
    python.typescript(program)
    python.begin("right", "call", "add", "python", 40, 2)
    python.begin("wrong", "call", "add", "python", 40, -2)

    assert python.end("right") == {"got": 42}
    assert python.end("wrong") == {"failed": "only upwards"}


def test_python_calls_typescript(python: Online) -> None:
    python.typescript("features_async")
    python.begin("right", "call", "multiply", "typescript", 6, 7, group="python")
    python.begin("wrong", "call", "multiply", "typescript", 6, 0, group="python")

    assert python.end("right") == {"got": 42}
    assert python.end("wrong") == {"failed": "not by zero"}


def test_a_person_is_asked_two_languages_deep(python: Online) -> None:
    python.typescript("features_generator")
    python.begin("deep", "call", "call", "typescript", "ask", "python", group="python")
    [id] = python.blocked()
    assert id.startswith("deep:")

    python.ok("approve", id, "--data", '"from far away"')

    assert python.end("deep") == {"got": {"got": "from far away"}}
