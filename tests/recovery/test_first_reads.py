"""Two threads read a type for the first time at the same moment (hitl_cli/inspected.py)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hitl_cli

READ = """
import threading, time
import msgspec
from msgspec import _utils
from hitl_cli.inspected import inspected
from {module} import {name}

inspect = _utils._get_class_mro_and_typevar_mappings
_utils._get_class_mro_and_typevar_mappings = lambda cls: (time.sleep(0.05), inspect(cls))[1]

def read(after_s):
    time.sleep(after_s)
    msgspec.json.decode({document!r}, type=inspected({name}))

threads = [threading.Thread(target=read, args=(0.075 * number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

READERS = {
    "msgspec.convert": 1,
    "msgspec.json.decode": None,
    "msgspec.json.Decoder": 0,
    "msgspec.msgpack.decode": None,
    "msgspec.msgpack.Decoder": 0,
}
"""What reads a type, and the place of that among its arguments; it can also be named `type`."""

PLAIN = {"Any", "bool", "dict", "float", "int", "list", "str", "tuple"}
"""Types that have no Structs in them, nor have those that consist of these."""


@pytest.mark.parametrize(
    ("module", "name", "document"),
    [
        ("hitl_cli.auth.signing_keys", "Keys", b'{"keys": [{"secret": "a", "created_at": 1}]}'),
        (
            "hitl_cli.requests.question",
            "Question",
            b'{"prompt": "?", "escalate": [{"after": 1, "to": ["ops"]}]}',
        ),
        ("hitl_cli.notify.digest_store", "DigestEnd", b'{"last": {"who": "a", "at": 1, "outcome": "sent"}}'),
    ],
)
def test_a_type_is_read_for_the_first_time_by_two_threads(module: str, name: str, document: bytes) -> None:
    script = READ.format(module=module, name=name, document=document)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_type_is_read_in_any_other_way() -> None:
    folder = Path(hitl_cli.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{node.lineno}"
        for path in folder.rglob("*.py")
        if path.name != "inspected.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and (kind := _read_by(node)) is not None and not _is_safe(kind)
    ]
    assert found == []


def _read_by(call: ast.Call) -> ast.expr | None:
    """Return the type that a call has msgspec read."""
    name = ast.unparse(call.func)
    if name not in READERS:
        return None
    for keyword in call.keywords:
        if keyword.arg == "type":
            return keyword.value
    place = READERS[name]
    return call.args[place] if place is not None and len(call.args) > place else None


def _is_safe(kind: ast.expr) -> bool:
    match kind:
        case ast.Call(func=ast.Name(id="inspected")) | ast.Constant() | ast.Attribute(attr="Raw"):
            return True
        case ast.Name(id=name):
            return name in PLAIN
        case ast.Subscript(value=value, slice=within):
            return _is_safe(value) and _is_safe(within)
        case ast.Tuple(elts=parts):
            return all(map(_is_safe, parts))
    return False
