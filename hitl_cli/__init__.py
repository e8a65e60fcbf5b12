"""Human-in-the-loop workflows on Resonate durable promises.

`workflow` marks the durable functions of an app that `hitl worker --app` serves, and `ask` asks a person in
one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.asking import Asked, ask, ask_all, digest_of
    from hitl_cli.decisions import Decision, Rejected
    from hitl_cli.reach import link_to

__all__ = [
    "Asked",
    "Decision",
    "Rejected",
    "__version__",
    "ask",
    "ask_all",
    "digest_of",
    "link_to",
    "workflow",
]
__version__ = "0.1.0"

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


def __getattr__(name: str) -> object:
    """Return what needs the SDK, imported when it is first asked for: the commands do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hitl_cli import asking, decisions, reach  # noqa: PLC0415

    modules = {"Decision": decisions, "Rejected": decisions, "link_to": reach}
    return getattr(modules.get(name, asking), name)
