"""Identifies the code that a process has loaded, to tell changed code from a question that varies by itself.

The digest covers the compiled code of the module that asks and of the loaded modules in its folder or
package. Comments, blank lines and line numbers do not count.
"""

from __future__ import annotations

import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from hitl_cli import __version__
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.requests.question import Code

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

DIGEST_CHARS = 16
"""Enough to tell versions of one app from each other."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed code, which is not part of an app even inside the app's folder."""


class LoadedCode:
    """The code of a process that started at `since`, ms since the epoch."""

    def __init__(self, since: int) -> None:
        self._since = since
        self._known: dict[str, Code] = {}

    def of(self, module: str) -> Code:
        """Return the code of the app that a module belongs to."""
        code = self._known.get(module)
        if code is None:
            code = Code(digest=_digest(module), hitl=__version__, since=self._since)
            self._known[module] = code
        return code


def loaded_code(modules: Iterable[ModuleType]) -> LoadedCode:
    """Return the code of this process, which has just loaded these modules."""
    code = LoadedCode(since=now_ms())
    for module in modules:
        code.of(module.__name__)  # read now: the files may change later
    return code


def _digest(name: str) -> str:
    """Return the digest of the app that a module belongs to."""
    return _digest_of(tuple((part, _version(module)) for part, module in _app_of(name)))


def _version(module: ModuleType) -> object:
    """Return a value that changes with the file of a module, and at each call for a module without one."""
    file = getattr(module, "__file__", None)
    try:
        found = os.stat(file or "")  # noqa: PTH116 - there may be hundreds
    except OSError:
        return object()
    return file, found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(32)  # each test of `hitl_test` asks for one
def _digest_of(app: tuple[tuple[str, object], ...]) -> str:
    """Return the digest of an app, from the names of its modules and the versions of their files."""
    sha256 = hashlib.sha256()
    for part, _ in app:
        code = _compiled(sys.modules[part])
        if code is not None:
            sha256.update(f"{part}\0{_readable(code)}\0".encode(errors="replace"))
    return sha256.hexdigest()[:DIGEST_CHARS]


def _app_of(name: str) -> Iterable[tuple[str, ModuleType]]:
    """Return the modules of the app that a module belongs to, by name."""
    top = sys.modules.get(name.partition(".")[0])
    file = getattr(top, "__file__", None)
    if file is None:
        module = sys.modules.get(name)
        return [] if module is None else [(name, module)]
    folder = Path(file).parent
    near = str(folder) if folder.is_absolute() else ""  # most modules are elsewhere, which is quick to see
    found = []
    for part, module in list(sys.modules.items()):
        own = getattr(module, "__file__", None)
        if isinstance(own, str) and own.startswith(near) and (own == file or _is_in(folder, Path(own))):
            found.append((part, module))
    return sorted(found, key=lambda each: each[0])


def _is_in(folder: Path, file: Path) -> bool:
    """Whether a file belongs to the app."""
    return file.is_relative_to(folder) and INSTALLED.isdisjoint(file.relative_to(folder).parts)


def _compiled(module: ModuleType) -> CodeType | None:
    """Return the compiled code of a module; None if it is not Python or cannot be read."""
    spec = getattr(module, "__spec__", None)
    loader: Any = getattr(spec, "loader", None)
    if spec is None or not hasattr(loader, "get_code"):
        return None
    try:
        code = loader.get_code(spec.name)
    except (ImportError, OSError, SyntaxError):  # the file was deleted or is being written
        return None
    return code if isinstance(code, CodeType) else None


def _readable(code: CodeType) -> str:
    """Return the behaviour of compiled code as text, without line numbers."""
    consts = [_readable(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount)
    return f"{code.co_name}\0{code.co_code.hex()}\0{names}\0{consts}"


def _constant(value: object) -> str:
    """Return a constant as text that is the same in every process."""
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(_constant, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return repr(value)
