"""The trace of a run, and its header `traceparent` (W3C Trace Context)."""

from __future__ import annotations

import re

from msgspec import Struct

from hitl_cli.format.stable_ids import stable_id

HEADER = "traceparent"

FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""A version, the trace, the span of the caller, and flags. Later versions may add more."""

SAMPLED = 1

TRACE_DIGITS, SPAN_DIGITS = 32, 16
"""Hexadecimal digits of the ids of a trace and of a span."""


class Trace(Struct, frozen=True, gc=False):
    """A trace, and a span in it: that of a caller, or of a promise. `span` is 0 if there is none."""

    id: int
    span: int
    flags: int = SAMPLED

    def header(self) -> str:
        """Return the value of the header."""
        return f"00-{self.id:032x}-{self.span:016x}-{self.flags:02x}"

    def of(self, promise: str) -> Trace:
        """Return the same trace, with the span of a promise (its id)."""
        span = int(stable_id(f"hitl.span\0{self.id:x}\0{promise}", SPAN_DIGITS), 16)
        return Trace(self.id, span or 1, self.flags)


def trace_in(header: str | None) -> Trace | None:
    """Return the trace in a header; None if the header is missing or not valid."""
    form = FORM.fullmatch(header or "")
    if form is None or int(form[1], 16) == 0 or int(form[2], 16) == 0:
        return None
    return Trace(int(form[1], 16), int(form[2], 16), int(form[3], 16) & SAMPLED)


def derived_trace_id(promise: str, created_at: int) -> int:
    """Return the trace of a promise without a header: the same in every process."""
    return int(stable_id(f"hitl.trace\0{promise}\0{created_at}", TRACE_DIGITS), 16) or 1
