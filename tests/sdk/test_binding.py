"""Arguments are bound as `inspect` binds them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from resonate.durable import DurableFunction

from hitl_cli.sdk.binding import quickened

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable


def plain(_ctx: Any, one: int, two: str = "two", /, three: Any = None) -> None: ...
def alone(_ctx: Any) -> None: ...
def named(_ctx: Any, one: int, *, two: int = 2) -> None: ...
def several(_ctx: Any, *rest: int, **more: int) -> None: ...


def bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a function would be called with, and which arguments were given; or the error."""
    try:
        found = signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    given = set(found.arguments)
    found.apply_defaults()
    return given, found.args, found.kwargs


@pytest.mark.parametrize("function", [plain, alone, named, several])
@pytest.mark.parametrize("args", [(), (1,), (1, "b"), (1, "b", None), (1, "b", None, 4)])
@pytest.mark.parametrize("kwargs", [{}, {"three": 3}, {"two": 2}])
def test_arguments_and_errors_are_those_of_inspect(
    function: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    slow = DurableFunction(function)._user_sig
    quick = quickened(DurableFunction(function))._user_sig
    assert bound(quick, args, kwargs) == bound(slow, args, kwargs)
    assert str(quick) == str(slow)
    assert str(copy.copy(quick)) == str(slow)
