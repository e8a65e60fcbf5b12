"""The words for the outcome of a request: on pages, in commands and in notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgspec import UnsetType

    from hitl_cli.client.wire import Json, Vote
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
    if choice is not None or question.choices:
        return choice
    return yes_or_no_given(question.form, data, editable=question.editable is not None)


def yes_or_no_given(form: Json, data: Json | UnsetType, *, editable: bool) -> str | None:
    """Return the yes or no that an answer without a choice is; None for any other answer."""
    if form is None or editable:
        return None
    from hitl_cli.forms.reading import yes_or_no

    return yes_or_no(form, data)


def vote_given(question: Question, vote: Vote) -> str | None:
    """Return the choice, or the yes or no, of a vote; None for a plain approval and a rejection."""
    return answer_given(question, vote.choice, vote.data) if vote.verdict == "approve" else None


def noun_of(question: Question) -> str:
    """Return what counts for a request: `answer` for a choice, or a yes or no, else `approval`."""
    if question.choices:
        return "answer"
    if question.form is None or question.editable is not None:
        return "approval"
    from hitl_cli.forms.fields import fields
    from hitl_cli.forms.reading import asks_yes_or_no

    return "answer" if asks_yes_or_no(fields(question.form)) else "approval"


def given_reason(outcome: str | None, reason: str | None) -> str | None:
    """Return a person's reason; None if they gave none (then the stored reason is just the outcome)."""
    return None if reason == outcome else reason


def closed(text: str) -> str:
    """Return a sentence with exactly one mark at its end. It may end with a person's own text."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
