"""One log line for each decision: who, what, through which front end.

A process logs what it records itself, and a worker what its runs go on with. Processes that serve show the
lines (hitl_cli/cli/logs.py); a command that decides does not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.inbox.decision_traces import trace_decision

if TYPE_CHECKING:
    from hitl_cli.inbox.decide import DecisionResult
    from hitl_cli.requests.decision import Decision

logger = logging.getLogger("hitl_cli.decisions")

seen_logger = logging.getLogger("hitl_cli.decisions.seen")
"""Logs decisions that others have recorded. `hitl dev` turns it off: its own gateway has logged them."""


def log_decision(result: DecisionResult) -> DecisionResult:
    """Log a decision or a vote that was recorded now, and return it. Its trace gets a span."""
    if result.fresh:
        trace_decision(result, now_ms())
    if result.fresh and logger.isEnabledFor(logging.INFO):
        audit = result.audit
        outcome = "approved" if result.verdict == "approve" else "rejected"
        event = "decision" if result.settled else "vote"
        _log(logger, event, result.promise.id, result.workflow, outcome, audit.by, audit.via, audit.rule)
    return result


def log_seen(run: str, decision: Decision[Any], rule: str | None) -> None:
    """Log a decision with which a run goes on, unless its worker has logged it: one by a rule."""
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
