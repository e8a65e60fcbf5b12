"""Digests of a call's arguments that are the same in every process.

The order of a set or dict and addresses in memory do not count. A value that differs in each process, such as
a connection, counts only by its type.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import inspect
import io
import sys
import sysconfig
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import Path
from types import (
    BuiltinMethodType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DIGEST_BYTES = 12
"""Enough to tell the arguments of one call from those of another."""

DEEPEST = 100
"""How deep an argument is looked into."""

PLAIN = (int, float, str, bytes, bytearray)

OWN = (int, str, bytes, Enum)
"""Types of private attributes that count. Others may be caches and clocks."""

_PYTHON = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")


def digests(fn: Any, args: Iterable[Any], kwargs: Mapping[str, Any], *, sort: bool = False) -> dict[str, str]:
    """Return a digest of each argument by its number or name, and of the function by its name.

    With `sort`, the order of lists does not count.
    """
    given: dict[str, Any] = {str(n): value for n, value in enumerate(args, 1)} | dict(kwargs)
    if fn is not None and not isinstance(fn, str):
        given[f"{name_of(fn)}()"] = fn
    walk = _Walk(sort=sort)
    return {name: walk.digest(value, 0) for name, value in given.items()}


def holds_sets(*values: Any) -> bool:
    """Whether there is a set in the values, whose order in JSON differs in each process."""
    walk = _Walk(sort=False)
    for value in values:
        walk.digest(value, 0)
    return walk.sets


def name_of(fn: Any) -> str:
    """Return the name of a function that was passed to `ctx.run`."""
    if isinstance(fn, str):
        return fn
    called = getattr(fn, "func", fn)  # a functools.partial
    return getattr(called, "__name__", None) or type(called).__name__


def texts_of(fn: Any) -> dict[str, str]:
    """Return a digest of the texts and numbers in a function's code, by its module and name."""
    while (inner := _inner(fn)) is not None:
        fn = inner
    if not isinstance(fn, FunctionType) or "<" in fn.__qualname__:
        return {}
    return {f"{_module_of(fn)}:{fn.__qualname__}": _texts_in(fn.__code__)}


def texts_now(name: str) -> str | None:
    """Return the present digest of the texts in a function, by `texts_of`'s name; None if it is gone."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return texts_of(found).get(name)


class _Walk:
    """A pass over some values. `sets` tells whether a set was among them."""

    def __init__(self, *, sort: bool) -> None:
        self.sets = False
        self._sort = sort
        self._known: dict[int, tuple[Any, str]] = {}

    def digest(self, value: Any, depth: int) -> str:
        """Return the digest of a value."""
        if isinstance(value, PLAIN) and not isinstance(value, Enum):
            return _hash([_plain(value)])
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if depth == DEEPEST:
            return "..."
        self._known[id(value)] = (value, "...")  # in a circle
        try:
            parts = self._parts(value, depth + 1)
        except Exception:  # noqa: BLE001 - an object may raise anything where it is looked at
            parts = [_type_name(type(value))]
        found = _hash(parts)
        self._known[id(value)] = (value, found)
        return found

    def _each(self, values: Iterable[Any], depth: int) -> list[str]:
        return [self.digest(each, depth) for each in values]

    def _parts(self, value: Any, depth: int) -> list[str]:
        """Return the parts of a value, as texts."""
        kind = type(value)
        if value is None:
            return ["None"]
        if isinstance(value, list | tuple | deque):
            parts = self._each(value, depth)
            return ["list", *(sorted(parts) if self._sort else parts)]
        if isinstance(value, AbstractSet) and not isinstance(value, Enum):
            self.sets = self.sets or isinstance(value, set | frozenset)
            return ["set", *sorted(self._each(value, depth))]
        if isinstance(value, Mapping):
            items = [f"{self.digest(k, depth)}{self.digest(v, depth)}" for k, v in value.items()]
            return ["dict", *sorted(items)]
        return [_type_name(kind), *self._object_parts(value, kind, depth)]

    def _object_parts(self, value: Any, kind: type, depth: int) -> list[str]:
        if isinstance(value, FunctionType):
            return self._function_parts(value, depth)
        for known, held in _HELD:
            if isinstance(value, known):
                return self._each(held(value), depth)
        if hasattr(value, "__wrapped__") and callable(value):  # functools.lru_cache
            return self._each([value.__wrapped__], depth)
        if (content := _buffer(value)) is not None:
            return self._each([content], depth)
        if kind.__module__.partition(".")[0] == "resonate":
            return []
        where = _origin(kind.__module__)
        if where != "python" and (own := _attributes(value, kind, private=where == "app")):
            return self._each([own], depth)
        text = repr(value)  # a date, a Decimal, a path, or a similar type of a library
        is_value = not text.startswith("<") and (where == "python" or " at 0x" not in text)
        return [text if is_value else ""]  # a lock, a thread

    def _function_parts(self, function: FunctionType, depth: int) -> list[str]:
        """Return the identity of a function. Its code counts only if it has no name."""
        code = function.__code__
        held = [function.__defaults__, function.__kwdefaults__, function.__closure__]
        text = _lambda_text(code) if code.co_name == "<lambda>" else ""
        return [_module_of(function), function.__qualname__, text, *self._each(held, depth)]


def _module_of(function: FunctionType) -> str:
    module = function.__module__
    return Path(function.__code__.co_filename).stem if module == "__main__" else str(module)


def _inner(fn: Any) -> Any:
    """Return the function within a partial, a method, a wrapper or an object that is called."""
    if isinstance(fn, functools.partial):
        return fn.func
    if isinstance(fn, MethodType):
        return fn.__func__
    if (wrapped := getattr(fn, "__wrapped__", None)) is not None:
        return wrapped
    return None if isinstance(fn, FunctionType | type | BuiltinMethodType) else _own_call(fn)


def _own_call(fn: Any) -> Any:
    call = inspect.getattr_static(type(fn), "__call__", None)
    return call if isinstance(call, FunctionType) else None


@functools.cache
def _texts_in(code: CodeType) -> str:
    """Return a digest of the texts and numbers that code uses: not its docstring."""
    loaded = [each.argval for each in dis.get_instructions(code) if each.opname in _LOADING]
    return _hash(
        _texts_in(each) if isinstance(each, CodeType) else _constant(each)
        for each in loaded
        if each is not None
    )


_LOADING = frozenset({"LOAD_CONST", "LOAD_SMALL_INT", "RETURN_CONST", "KW_NAMES"})


def _constant(value: object) -> str:
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _hash(parts: Iterable[str]) -> str:
    text = "\0".join(parts)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


def _plain(value: Any) -> str:
    """Return a plain value as text, regardless of its class's own `__repr__`."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:#x}" if type(value) is int else f"{int(value):#x}"
    kind = next(kind for kind in PLAIN if isinstance(value, kind))
    return kind.__repr__(value)


def _type_name(kind: type) -> str:
    return kind.__qualname__


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # it is not filled yet
        return []


def _owner(method: BuiltinMethodType) -> list[Any]:
    owner = method.__self__
    return [method.__qualname__] if isinstance(owner, ModuleType) else [method.__qualname__, owner]


_HELD: tuple[tuple[Any, Callable[[Any], list[Any]]], ...] = (
    (Enum, lambda value: [value._name_, value._value_]),
    (functools.partial, lambda value: [value.func, value.args, value.keywords]),
    (MethodType, lambda value: [value.__func__, value.__self__]),
    (BuiltinMethodType, _owner),
    (CellType, _content),
    (type, lambda value: [_type_name(value)]),
    (BaseException, lambda value: [value.args, vars(value)]),
    (SimpleNamespace, lambda value: [vars(value)]),
    (io.StringIO | io.BytesIO, lambda value: [value.getvalue()]),
)
"""The contents of some types of Python."""


def _lambda_text(code: CodeType) -> str:
    """Return the code of a lambda as text, because it is a part of the call."""
    consts = [
        _lambda_text(each) if isinstance(each, CodeType) else repr(each)
        for each in code.co_consts
        if each is not None and not isinstance(each, frozenset)
    ]
    return f"{code.co_names}{code.co_varnames}{consts}"


def _buffer(value: Any) -> bytes | None:
    """Return the bytes of an array; None for another value, or one that holds addresses."""
    try:
        with memoryview(value) as view:
            return None if "O" in view.format else view.tobytes()
    except (TypeError, ValueError, BufferError):
        return None


@functools.cache
def _origin(module: str) -> Literal["python", "installed", "app"]:
    """Return the file or origin of a module."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "python" if module.partition(".")[0] in sys.stdlib_module_names else "app"
    if any(part in _INSTALLED for part in Path(file).parts):
        return "installed"
    return "python" if file.startswith(_PYTHON) else "app"


def _attributes(value: Any, kind: type, *, private: bool) -> dict[str, Any]:
    """Return the attributes of an object: the public ones, and plain `private` ones."""
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__struct_fields__"):
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    if hasattr(kind, "get_secret_value"):  # pydantic
        return {"secret": value.get_secret_value()}
    own = dict(getattr(value, "__dict__", {}))
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                own[name] = getattr(value, name)
    for extra in ("__pydantic_extra__", "__pydantic_private__"):
        own |= (hasattr(kind, extra) and getattr(value, extra, None)) or {}
    return {
        name: each
        for name, each in own.items()
        if not name.startswith("_") or (private and isinstance(each, OWN))
    }
