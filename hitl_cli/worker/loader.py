"""Loads the workflows that a worker serves, from files and modules."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.authoring.workflow import MARK
from hitl_cli.errors import BadApp, BadInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from resonate.resonate import Resonate


def register_app(app: str, module: ModuleType, resonate: Resonate) -> None:
    """Register the workflows of an app that was loaded from `app`.

    Functions marked with `@workflow` are registered under their names, and `register(resonate)` is called if
    the app defines it. Raises BadApp if it has neither, or if one of them fails.
    """
    functions = {
        getattr(value, MARK): value
        for value in vars(module).values()
        if callable(value) and isinstance(getattr(value, MARK, None), str)
    }
    for name, function in functions.items():
        _attempt(app, partial(resonate.register, function, name=name))
    register = getattr(module, "register", None)
    if callable(register):
        _attempt(app, lambda: register(resonate))
    elif not functions:
        raise BadApp(f"{app} has no workflows: mark functions with @workflow, or define register(resonate).")


def load_app(app: str) -> ModuleType:
    """Import `FILE.py` or a module. Raises BadApp, with the line, if it is missing or fails."""
    if app.endswith(".py"):
        return _attempt(app, lambda: _load_file(Path(app)))
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = importlib.util.find_spec(app)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise BadApp(f"no app {app!r}: give a file that ends in .py, or a module that can be imported.")
    return _attempt(app, lambda: importlib.import_module(app))


def _load_file(path: Path) -> ModuleType:
    """Import a file as a module named after it, so that pickled classes can be found again."""
    if not path.is_file():
        raise BadApp(f"no app {path}: the file does not exist.")
    there = sys.modules.get(path.stem)
    if there is not None and getattr(there, "__file__", None) == str(path):
        return there
    if there is not None:
        raise BadApp(f"{path} has the same name as another module, {path.stem!r}: rename the file.")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _attempt[T](app: str, action: Callable[[], T]) -> T:
    """Run code of the app. An exception becomes a BadApp that names the line."""
    try:
        return action()
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BadApp(f"{app} cannot be loaded: {type(error).__name__}: {text}{_where(error)}.") from error


def _where(error: BaseException) -> str:
    """Return ` (file.py, line 3)`: the innermost line that belongs to neither hitl nor a package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    own = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((own, "<frozen")) and "site-packages" not in frame.filename
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
