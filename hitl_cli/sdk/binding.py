"""Binds arguments to a durable function fast: `inspect` takes as long as the rest of a quick step.

The SDK binds the arguments of each step twice, and of each run once (resonate/durable.py).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from resonate.context import Context

if TYPE_CHECKING:
    from resonate.durable import DurableFunction

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class _PlainArguments:
    """A replacement of `inspect.BoundArguments` for positional arguments."""

    __slots__ = ("_signature", "arguments")

    kwargs: ClassVar[dict[str, Any]] = {}

    def __init__(self, signature: _PlainSignature, arguments: dict[str, Any]) -> None:
        self._signature = signature
        self.arguments = arguments

    @property
    def args(self) -> tuple[Any, ...]:
        return tuple(self.arguments.values())

    def apply_defaults(self) -> None:
        """Add the missing arguments, which are the last ones."""
        for name, default in self._signature.defaults.items():
            self.arguments.setdefault(name, default)


class _PlainSignature(inspect.Signature):
    """A signature with positional parameters only."""

    __slots__ = ("defaults", "names", "needed")

    names: tuple[str, ...]
    defaults: dict[str, Any]
    needed: int

    def bind(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the bound arguments. Raises TypeError."""
        if kwargs or not self.needed <= len(args) <= len(self.names):
            return super().bind(*args, **kwargs)
        return _PlainArguments(self, dict(zip(self.names, args, strict=False)))


def quickened(function: DurableFunction) -> DurableFunction:
    """Return a durable function whose arguments are bound quickly, if its signature is plain."""
    signature = function._user_sig
    each = signature.parameters.values()
    if all(one.kind in POSITIONAL for one in each):
        plain = _PlainSignature(list(each), return_annotation=signature.return_annotation)
        plain.names = tuple(one.name for one in each)
        plain.defaults = {one.name: one.default for one in each if one.default is not one.empty}
        plain.needed = len(plain.names) - len(plain.defaults)
        function._user_sig = plain
    return function


def _copied(ctx: Context) -> Context:
    one = object.__new__(type(ctx))
    one.__dict__.update(ctx.__dict__)
    return one


def copy_quickly() -> None:
    """Make `copy.copy` of contexts fast; the SDK copies them for `options`."""
    Context.__copy__ = _copied  # type: ignore[attr-defined]
