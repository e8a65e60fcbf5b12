"""The workflows that every worker serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.builtin.approval import approval

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WORKFLOWS: dict[str, Callable[..., Any]] = {"approval": approval, "foo": approval}
"""By the names they are served under. `foo` is what the pattern's examples call it."""
