"""Logs each decision (who, what, through which front end), and adds its spans to the trace of its run.

A process logs the decisions that it records, and a worker those with which its runs continue. Processes that
serve show the lines (hitl_cli/cli/logs.py); a command that decides does not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hitl_cli import tracing
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.tracing import HEADER, trace_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.requests.decision import Decision

logger = logging.getLogger("hitl_cli.decisions")

seen_logger = logging.getLogger("hitl_cli.decisions.seen")
"""Logs decisions recorded by other processes. `hitl dev` turns it off, because its gateway logs them."""

REQUEST = "request"


def log_decision(result: DecisionResult) -> DecisionResult:
    """Log a decision or a vote that was recorded now, and return it. Its trace gets a span."""
    if result.fresh:
        _trace_decision(result, now_ms())
    if result.fresh and logger.isEnabledFor(logging.INFO):
        audit = result.audit
        outcome = "approved" if result.verdict == "approve" else "rejected"
        event = "decision" if result.settled else "vote"
        _log(logger, event, result.promise.id, result.workflow, outcome, audit.by, audit.via, audit.rule)
    return result


def log_seen(run: str, decision: Decision[Any], rule: str | None) -> None:
    """Log a decision with which a run continues. A rule's decision was already logged by its worker."""
    if rule is None and seen_logger.isEnabledFor(logging.INFO):
        outcome = "approved" if decision.approved else "expired" if decision.expired else "rejected"
        via = "deadline" if decision.expired else decision.via
        _log(seen_logger, "decision", decision.id, run, outcome, decision.by, via, None)


def _log(
    log: logging.Logger,
    event: str,
    id: str,
    run: str,
    outcome: str,
    by: str | None,
    via: str | None,
    rule: str | None,
) -> None:
    about = {"run": run, "request": id} | ({} if by is None else {"person": by})
    extra = {**about, "event": event, "also": {"outcome": outcome, "via": via, "rule": rule}}
    who = "" if by is None else f" by {by}"
    through = f" by the rule {rule}" if rule else f" via {via or 'another tool'}"
    log.info("%s: %s %s%s%s", event, id, outcome, who, through, extra=extra)


# Spans


def trace_request(
    id: str, headers: Mapping[str, str] | None, asked_at: int, decided_at: int, outcome: str, via: str | None
) -> None:
    """Create the span of a request, from when it was asked until it was decided (ms since the epoch)."""
    tracer = tracing.current()
    caller = trace_in((headers or {}).get(HEADER))
    if tracer is not None and caller is not None:
        about = {"hitl.request.id": id, "hitl.outcome": outcome, "hitl.via": via or ""}
        tracer.emit(REQUEST, caller.of(id), caller, asked_at, decided_at, about)


def _trace_decision(result: DecisionResult, now: int) -> None:
    """Create the span of a decision or a vote, and for a request without a run also that of the request."""
    tracer = tracing.current()
    if tracer is None:
        return
    promise = result.promise
    headers = (promise.param.headers if promise.param is not None else None) or {}
    caller = tracer.trace_of(promise.id, promise.created_at, headers.get(HEADER))
    request = caller.of(promise.id)
    at = promise.settled_at or now
    about = {
        "hitl.request.id": promise.id,
        "hitl.verdict": result.verdict,
        "hitl.via": result.audit.via or "",
    }
    name = "decision" if result.settled else "vote"
    tracer.emit(name, request.of(f"{promise.id} {result.audit.id}"), request, at, at, about)
    if result.settled and promise.origin == promise.id:  # no worker creates it
        tracer.emit(REQUEST, request, caller, promise.created_at, at, about)
