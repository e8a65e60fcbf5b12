"""`workflow`: marks the durable functions that `hitl worker --app` serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "__hitl_workflow__"
"""The attribute that holds the name under which a function is served."""


@overload
def workflow[F: Callable[..., object]](function: F, /) -> F: ...
@overload
def workflow[F: Callable[..., object]](*, name: str) -> Callable[[F], F]: ...
def workflow[F: Callable[..., object]](function: F | None = None, /, *, name: str | None = None) -> object:
    """Mark a durable function, so that `hitl worker --app` serves it.

    The function takes a resonate `Context` first and its own arguments after it. It is served
    under `name`, by default its own. Returned unchanged, so `ctx.run(function)` works as before.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, name or function.__name__)
        return function

    return mark if function is None else mark(function)
