"""The spans of requests and decisions, in the trace of the run that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli import tracing
from hitl_cli.tracing import HEADER, trace_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.inbox.decide import DecisionResult

REQUEST = "request"


def trace_request(
    id: str, headers: Mapping[str, str] | None, asked_at: int, decided_at: int, outcome: str, via: str | None
) -> None:
    """Make the span of a request, from when it was asked until it was decided (ms since the epoch)."""
    tracer = tracing.current()
    caller = trace_in((headers or {}).get(HEADER))
    if tracer is not None and caller is not None:
        about = {"hitl.request.id": id, "hitl.outcome": outcome, "hitl.via": via or ""}
        tracer.emit(REQUEST, caller.of(id), caller, asked_at, decided_at, about)


def trace_decision(result: DecisionResult, now: int) -> None:
    """Make the span of a decision or a vote, below that of its request; and of a request without a run."""
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
    if result.settled and promise.origin == promise.id:  # no worker does it
        tracer.emit(REQUEST, request, caller, promise.created_at, at, about)
