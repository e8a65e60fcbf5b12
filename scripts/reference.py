"""The generated pages of the reference: the routes of the API, and the Python API."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

import hitl_cli
from hitl_cli import _MODULES, testing
from hitl_cli.gateway.api.openapi import document
from hitl_cli.gateway.api.routes import TABLE

ROUTES = """\
# HTTP API: routes

Generated from the route table of the gateway. `GET /api/v1/openapi.json` returns it as OpenAPI 3.1, with
the responses. [The API](api.md) explains tokens, lists, decisions and errors.
"""

PYTHON = """\
# Python API

Import everything from `hitl_cli`, for tests from [`hitl_cli.testing`](#hitl_clitesting), and for agents from
[`hitl_cli.agents`](../guides/agent-frameworks.md). Other modules are internal and may change without notice.
Generated from the docstrings; `help(hitl_cli.ask)` prints the same.
"""

ANY = "any JSON"

TESTING = ("hitl_test", "HitlTest", "TestedRun", "Person", "NotAsked", "StillWaiting")
"""The names of `hitl_cli.testing`, in the order of the page."""

SHORT = 3
"""Maximum number of arguments on one line."""

Declaration = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def routes() -> str:
    """Return the page of the routes, from the OpenAPI document of the gateway."""
    described = document(TABLE, "")
    schemas = described["components"]["schemas"]
    page = [ROUTES]
    for route in TABLE:
        found = described["paths"][route.path][route.method.lower()]
        page.append(f"## `{route.method} {route.path}`\n")
        permission = " or ".join(f"`{one}`" for one in route.needs)
        page.append(f"{route.summary} Permission: {permission}.\n")
        rows = [
            _row(one["name"], one["schema"], one["in"], one["required"], one.get("description", ""))
            for one in found.get("parameters", ())
        ]
        if body := found.get("requestBody"):
            [reference] = body["content"].values()
            schema = schemas[reference["schema"]["$ref"].rpartition("/")[2]]
            required = schema.get("required", ())
            rows += [
                _row(name, one, "body", name in required, "") for name, one in schema["properties"].items()
            ]
        if rows:
            page += ["| name | in | type | |", "| --- | --- | --- | --- |", *rows, ""]
        answers = [status for status in found["responses"] if status != "default"]
        page.append(f"Responses: {', '.join(answers)}, or an [error](api.md#errors).\n")
    return "\n".join(page).rstrip() + "\n"


def _row(name: str, schema: dict[str, Any], place: str, required: bool, said: str) -> str:
    """Return a row of the table of parameters."""
    notes = [said or _described(schema)]
    if required:
        notes.append("Required.")
    elif schema.get("default") not in (None, [], (), {}, ""):
        notes.append(f"Default `{str(schema['default']).lower()}`.")
    return f"| `{name}` | {place} | {_kind(schema)} | {' '.join(filter(None, notes))} |"


def _described(schema: dict[str, Any]) -> str:
    """Return the description of a schema, or of one of its alternatives."""
    alternatives = schema.get("anyOf", ())
    return str(
        schema.get("description")
        or next((one["description"] for one in alternatives if "description" in one), "")
    )


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a value in words."""
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", ANY)
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(kind)


def python_api() -> str:
    """Return the page of the public names, with signatures or fields, and docstrings."""
    page = [PYTHON]
    for name in sorted(hitl_cli.__all__, key=lambda name: (name[0].isupper(), name)):
        page.append(f"## `{name}`\n")
        if name == "__version__":
            page.append("The version of hitl, as a string.\n")
            continue
        value = getattr(hitl_cli, name)
        if value.__name__ != name:
            page.append(f"The earlier name of [`{value.__name__}`](#{value.__name__.lower()}).\n")
            continue
        page += _described_name(name, f"hitl_cli.{_MODULES.get(name, 'authoring.workflow')}")
    page.append("## `hitl_cli.testing`\n\nFor [tests](../guides/testing.md).\n")
    for name in TESTING:
        page += [f"## `{name}`\n", *_described_name(name, getattr(testing, name).__module__)]
    return "\n".join(page).rstrip() + "\n"


def _described_name(name: str, module: str) -> list[str]:
    """Return the section about a public name."""
    node = _source(name, module)
    lines = _declared(node)
    for method in _methods(node):
        lines += [f"### `{name}.{method.name}`\n", *_declared(method)]
    return lines


def _source(name: str, module_name: str) -> Declaration:
    """Return the parsed declaration of a public name."""
    module = importlib.import_module(module_name)
    body = ast.parse(inspect.getsource(module)).body
    # The last of several: the others are overloads.
    return [one for one in body if isinstance(one, Declaration) and one.name == name][-1]


def _declared(node: Declaration) -> list[str]:
    """Return the signature of a function, or the fields of a class, and the docstring."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        head = [f"class {node.name}({bases})" if bases else f"class {node.name}"]
        lines = head + [f"    {ast.unparse(one)}" for one in node.body if _is_field(one)]
        lines += _constructor(node)
    else:
        returns = ast.unparse(node.returns) if node.returns else "None"
        given = [one for one in _arguments(node.args) if one != "self"]
        begin = f"{'async ' if isinstance(node, ast.AsyncFunctionDef) else ''}def {node.name}"
        if any(ast.unparse(one) == "property" for one in node.decorator_list):
            lines = [f"{node.name}: {returns}"]
        elif len(given) <= SHORT:
            lines = [f"{begin}({', '.join(given)}) -> {returns}"]
        else:
            lines = [f"{begin}(", *(f"    {one}," for one in given), f") -> {returns}"]
    return ["```python", *lines, "```\n", f"{ast.get_docstring(node) or ''}\n"]


def _constructor(node: ast.ClassDef) -> list[str]:
    """Return the call that makes an instance, if it works without arguments; hitl makes the others."""
    found = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    given = _arguments(found[0].args)[1:] if found else []
    is_open = given and all("=" in one or one == "*" for one in given)
    return [f"{node.name}({', '.join(given)})"] if is_open else []


def _arguments(given: ast.arguments) -> list[str]:
    """Return each argument as it is declared."""
    alone = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    words = []
    for at, (one, default) in enumerate(zip(positional, defaults, strict=True)):
        alone.args, alone.defaults = [one], [default] if default else []
        words.append(ast.unparse(alone))
        if given.posonlyargs and at == len(given.posonlyargs) - 1:
            words.append("/")
    if given.vararg:
        words.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        words.append("*")
    alone.args, alone.defaults = [], []
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        alone.args, alone.defaults = [one], [default] if default else []
        words.append(ast.unparse(alone))
    if given.kwarg:
        named = ast.unparse(given.kwarg)
        words.append(f"**{given.kwarg.arg if 'Unpack' in named else named}")
    return words


def _is_field(node: ast.stmt) -> bool:
    """Whether a statement of a class declares a public field."""
    return (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(node.annotation)
    )


def _methods(node: Declaration) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the public methods of a class."""
    if not isinstance(node, ast.ClassDef):
        return []
    functions = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [one for one in functions if not one.name.startswith("_") and ast.get_docstring(one)]
