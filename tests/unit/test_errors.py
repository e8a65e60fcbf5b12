"""Each error has a code, an exit code and an HTTP status, and docs/reference/errors.md lists them all."""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hitl_cli
from hitl_cli.engine.errors import EngineError
from hitl_cli.errors import HitlError
from hitl_cli.gateway.error_responses import TYPES, status_of
from hitl_cli.gateway.http_error import CODES, HttpError
from tests.fork_server import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## Exit (\d)(?:, HTTP (\d+))?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(
    r"^- `([a-z0-9-]+)` \(([A-Za-z]+(?: other)?(?:, [A-Za-z]+)*)(?:, ([\d, ]+))?\): ", re.MULTILINE
)
BY_PAGES = {"LinkInvalid": 403}
"""Statuses that the pages of links choose for themselves."""

ODD = """
import hitl_cli.cli.app as app
from hitl_cli.errors import HitlError

class Odd(HitlError):
    "An error of a plugin."

def fail(**options):
    raise Odd("the plugin cannot do this.", ["one reason"])

app.app = fail
app.run()
"""


def of_kind(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from of_kind(below)


def package_classes() -> list[type[Exception]]:
    for module in pkgutil.walk_packages(hitl_cli.__path__, "hitl_cli."):
        if not module.name.endswith("__main__") and module.name not in LEFT_OUT:
            importlib.import_module(module.name)
    every = [*of_kind(HitlError), *of_kind(EngineError)]
    return [kind for kind in every if kind.__module__.startswith("hitl_cli.") and _is_current(kind)]


def _is_current(kind: type[Exception]) -> bool:
    """Whether a class is that of its module: a test may have imported the module anew."""
    return getattr(sys.modules[kind.__module__], kind.__name__, kind) is kind


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def codes_in_raises() -> set[str]:
    """The literal `code="…"` of every call in the package."""
    found: set[str] = set()
    for path in (ROOT / "hitl_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code":
                either = (
                    [node.value.body, node.value.orelse]
                    if isinstance(node.value, ast.IfExp)
                    else [node.value]
                )
                found.update(ast.literal_eval(one) for one in either if _is_text(one))
    return found


def documented() -> dict[str, set[tuple[str, int, int]]]:
    """The page: each code with its classes, and the exit code and HTTP status of each."""
    found: dict[str, set[tuple[str, int, int]]] = {}
    for exit_code, usual, table in SECTION.findall((ROOT / "docs" / "reference" / "errors.md").read_text()):
        for code, classes, statuses in ROW.findall(table):
            for name, status in itertools.product(classes.split(", "), (statuses or usual).split(", ")):
                found.setdefault(code, set()).add((name, int(exit_code), int(status)))
    return found


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    of_classes = {kind.code for kind in package_classes() if hasattr(kind, "code")}
    known = of_classes | codes_in_raises() | set(CODES.values()) | {"unexpected-error"}
    assert set(documented()) == known
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in known)


def test_the_documented_exit_codes_and_statuses_are_those_of_the_class() -> None:
    rows = documented()
    for kind in package_classes():
        if not issubclass(kind, HitlError) or issubclass(kind, HttpError) or kind.__name__.startswith("_"):
            continue
        status = BY_PAGES.get(kind.__name__) or status_of(kind.__new__(kind))
        assert (kind.__name__, kind.exit_code, status) in rows[kind.code]


def test_the_types_of_the_api_are_as_they_always_were() -> None:
    assert {uri.removeprefix("urn:hitl:problem:") for uri in TYPES.values()} == {
        "bad-input",
        "not-found",
        "conflict",
        "not-allowed",
        "deadline-passed",
        "key-reused",
        "server-unreachable",
    }


def test_an_error_of_a_plugin_exits_1_with_its_sentence_and_answers_500() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ODD, "--json"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == (
        "hitl: the plugin cannot do this.:\n  one reason\n"
        '{"error":{"code":"failed","message":"the plugin cannot do this.","lines":["one reason"]}}\n'
    )
    assert status_of(HitlError("the plugin cannot do this.")) == 500
