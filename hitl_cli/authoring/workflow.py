"""`workflow` marks the durable functions that `hitl worker --app` serves."""

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

        @workflow
        async def deploy(ctx: Context, version: str) -> str: ...

    The function's first parameter is a resonate `Context`; its own parameters follow. `name` is the name that
    runs are started with, by default the function's. The function is returned unchanged, so
    `ctx.run(function)` still works.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, name or function.__name__)
        return function

    return mark if function is None else mark(function)
