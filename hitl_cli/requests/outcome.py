"""What the outcome of a request is called: on pages, in commands and in notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.requests.question import Outcome


def headline(
    outcome: Outcome, *, by: str | None = None, choice: str | None = None, deadline: bool = False
) -> str:
    """Return the outcome in a few words, such as `Approved by lead`; `deadline` says whether it decided."""
    if deadline:
        return "The deadline passed" + ("" if outcome == "expired" else f", so this counts as {outcome}")
    if choice:
        return f"{by or 'Another tool'} answered: {choice}"
    return f"{outcome.capitalize()} by {by or 'another tool'}"


def given_reason(outcome: str | None, reason: str | None) -> str | None:
    """Return the reason that somebody gave; without one, the outcome itself is stored, and this is None."""
    return None if reason == outcome else reason


def closed(text: str) -> str:
    """Return a sentence that may end with the words of a person, with one mark at its end."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
