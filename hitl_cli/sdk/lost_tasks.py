"""Tells which log records of the SDK say no more than that a task was lost.

The server refuses the requests for a task with 409 once another worker holds it, or it was canceled or has
expired. The observer (observer.py) reports that as an event; the SDK logs it as an error, in two places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resonate.error import PlatformError, ServerError, StoppedError

from hitl_cli.sdk.observer import CONFLICT

if TYPE_CHECKING:
    import logging

_REFUSAL = str(ServerError(CONFLICT, ""))
"""How the text of such an error begins, where the SDK logs the text alone."""


def says_task_lost(record: logging.LogRecord) -> bool:
    """Whether the SDK logged that a task was lost. A record of a workflow's own logger never says that."""
    match record.name:
        case "resonate.core":
            error = record.exc_info[1] if record.exc_info else None
            causes = error.causes if isinstance(error, PlatformError) else [error]
            failed = [
                each for each in causes if not isinstance(each, StoppedError)
            ]  # what follows is stopped
            refused = (isinstance(each, ServerError) and each.code == CONFLICT for each in failed)
            return bool(failed) and all(refused)
        case "resonate.observability":
            return isinstance(record.args, tuple) and str(record.args[0]).startswith(_REFUSAL)
    return False
