"""What processes that serve print: log lines on stderr, and their first line on stdout, as text or JSON."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

from hitl_cli import tracing
from hitl_cli.cli.options import flag, value
from hitl_cli.cli.streams import lose_what_cannot_be_printed
from hitl_cli.errors import logged
from hitl_cli.format.json import to_json
from hitl_cli.format.log_fields import fields_of
from hitl_cli.format.terminal import printable, printable_json
from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

LogJson = Annotated[bool, flag("Log JSON, one object per line. (HITL_LOG_JSON=1)", "--log-json")]

Metrics = Annotated[
    str | None,
    value("[HOST:]PORT", "Serve /metrics (Prometheus), /health and /ready at this address.", "--metrics"),
]

SHOWN = ("hitl_cli.decisions", "hitl_cli.access", "hitl_cli.server_state")
"""The loggers whose INFO lines are shown."""


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def say_serving(text: str, document: Mapping[str, Any], metrics: str | None = None, *, as_json: bool) -> None:
    """Print that a process serves, and where its metrics are, as text or as JSON."""
    if as_json:
        more = {} if metrics is None else {"metrics": metrics}
        say(to_json({"event": "serving", **document, **more}))
        return
    say(text)
    if metrics is not None:
        say(f"metrics on {metrics}")


def wants_json(given: bool) -> bool:
    """Whether to log JSON: by the option, or by HITL_LOG_JSON for all commands."""
    return given or os.environ.get("HITL_LOG_JSON", "0") not in ("", "0")


def observed(role: str, *, as_json: bool) -> None:
    """Log to stderr, and send traces if the environment names a collector."""
    log_to_stderr(as_json=as_json)
    tracing.start(role)


def log_to_stderr(*, as_json: bool = False) -> None:
    """Log to stderr. From then on, output that cannot be written raises no error."""
    lose_what_cannot_be_printed()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneObject() if as_json else _OneLine())
    handler.addFilter(_is_news)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in SHOWN:
        logging.getLogger(name).setLevel(logging.INFO)


class _OneLine(logging.Formatter):
    """Formats log records as one line; tracebacks only with --debug."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line, with its error at the end."""
        if os.environ.get("HITL_DEBUG"):
            return logging.Formatter("%(levelname)s %(name)s: %(message)s").format(record)
        error = record.exc_info[1] if record.exc_info else None
        return printable(f"hitl: {record.getMessage()}" + (f": {logged(error)}" if error else ""))


class _OneObject(logging.Formatter):
    """Formats log records as JSON, one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON, with the run or request that it is about, its error and traceback."""
        error = record.exc_info[1] if record.exc_info else None
        trace = self.formatException(record.exc_info) if record.exc_info and error else None
        document = {
            "event": getattr(record, "event", "log"),
            "at": iso(round(record.created * 1_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _as_utf8(record.getMessage() + (f": {logged(error)}" if error else "")),
            "traceback": None if trace is None else _as_utf8(trace),
            **fields_of(record),
            **getattr(record, "also", {}),
        }
        return printable_json(to_json(document))


def _as_utf8(text: str) -> str:
    """Return a text for JSON: a file's name may have bytes that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether to show a log record: not if an event line or a later record reports the same failure."""
    if os.environ.get("HITL_DEBUG"):
        return True
    if record.name.startswith("opentelemetry.exporter."):
        return record.levelno > logging.WARNING  # each retry is a warning, and the end an error
    if not record.name.startswith("resonate."):
        return True
    from hitl_cli.sdk.reported import is_reported

    return not is_reported(record)
