"""What changed of a request, as an event tells programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.inbox.watch import Change


def change_document(change: Change) -> Json:
    """Return a request that was asked, changed or decided."""
    return {name: getattr(change, name) for name in ("id", "workflow", "title", "outcome", "by")}
