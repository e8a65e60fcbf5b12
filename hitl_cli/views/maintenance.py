"""Backups and pruning as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.engine.prune import REASONS
from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.engine.backup import Backup
    from hitl_cli.engine.prune import Pruned


def backup_document(made: Backup) -> Json:
    """Return a backup and its rows per table."""
    return {"file": str(made.path), "bytes": made.size, "rows": made.rows}


def prune_document(pruned: Pruned, *, done: bool) -> Json:
    """Return what was deleted (`done`) or would be. `kept` counts older runs that stay, by reason."""
    first, last = pruned.first_ended_at, pruned.last_ended_at
    return {
        "dry_run": not done,
        "runs": pruned.runs,
        "promises": pruned.promises,
        "first_ended_at": None if first is None else iso(first),
        "last_ended_at": None if last is None else iso(last),
        "kept": {reason: pruned.kept.get(reason, 0) for reason in REASONS},
        "bytes_given_back": pruned.given_back,
        "bytes_free": pruned.free,
    }
