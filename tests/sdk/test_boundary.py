"""Only hitl_cli/sdk touches what is private in resonate-sdk; the rule is in its docstring."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import hitl_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(hitl_cli.__file__).parent
ELSEWHERE = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE / "sdk"]

PUBLIC = {"connections", "context", "error", "resonate", "retry", "types"}
"""The modules of the SDK that an author imports."""


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of each thing that a module imports, also inside of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_other_package_touches_what_is_private_in_the_sdk() -> None:
    for path in ELSEWHERE:
        source = path.read_text()
        assert "SLF001" not in source, f"{path}: ruff allows private names of others in hitl_cli/sdk alone"
        for name in imported(ast.parse(source)):
            package, _, rest = name.partition(".")
            if package == "resonate":
                module, _, attribute = rest.partition(".")
                assert module in PUBLIC, f"{path}: {name}"
                assert not attribute.startswith("_"), f"{path}: {name}"
