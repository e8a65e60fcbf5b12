"""The words for the outcome of a request: on pages, in commands and in notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.requests.question import Outcome, Question


def headline(
    outcome: Outcome, *, by: str | None = None, answer: str | None = None, deadline: bool = False
) -> str:
    """Return the outcome in a few words, such as `Approved by lead`; `deadline` says whether it decided.

    With an `answer`, it shows that instead: a No is not called an approval.
    """
    if deadline:
        return "The deadline passed" + ("" if outcome == "expired" else f", so this counts as {outcome}")
    if answer:
        return f"{by or 'Another tool'} answered: {answer}"
    return f"{outcome.capitalize()} by {by or 'another tool'}"


def answer_given(question: Question, choice: str | None, data: Json) -> str | None:
    """Return the choice, or the yes or no, with which a request was approved; None for any other answer."""
    if choice is not None or question.form is None or question.editable is not None or question.choices:
        return choice
    from hitl_cli.forms.reading import yes_or_no

    return yes_or_no(question.form, data)


def given_reason(outcome: str | None, reason: str | None) -> str | None:
    """Return a person's reason; None if they gave none (then the stored reason is just the outcome)."""
    return None if reason == outcome else reason


def closed(text: str) -> str:
    """Return a sentence with exactly one mark at its end. It may end with a person's own text."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
