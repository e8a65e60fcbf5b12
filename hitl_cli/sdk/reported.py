"""Finds log records of the SDK that repeat an event of the worker.

The server refuses the requests for a task with 409 once another worker holds it, or it was canceled or has
expired. A value that cannot be stored fails its run. The observer (observer.py) reports both as events; the
SDK also logs them as errors, in two places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resonate.error import PlatformError, SerializationError, ServerError, StoppedError

from hitl_cli.sdk.observer import BAD_REQUEST, CONFLICT

if TYPE_CHECKING:
    import logging

_REPORTED = (
    str(ServerError(CONFLICT, "")),
    str(ServerError(BAD_REQUEST, "")),
    str(SerializationError(ValueError(""))),
)
"""The first words of such errors, if the SDK logs only the text."""


def is_reported(record: logging.LogRecord) -> bool:
    """Whether the SDK logged something that is reported as an event; never for a workflow's own logger."""
    match record.name:
        case "resonate.core":
            error = record.exc_info[1] if record.exc_info else None
            causes = error.causes if isinstance(error, PlatformError) else [error]
            failed = [
                each for each in causes if not isinstance(each, StoppedError)
            ]  # the records after it are suppressed
            return bool(failed) and all(str(each).startswith(_REPORTED) for each in failed)
        case "resonate.observability":
            return isinstance(record.args, tuple) and str(record.args[0]).startswith(_REPORTED)
    return False
