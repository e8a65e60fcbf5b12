"""The texts of messages: sentences and facts that each channel renders in its own way.

Texts from a request may be hostile and very long: they are cut, and invisible characters are escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.format.durations import format_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import cut, printable, printable_lines
from hitl_cli.format.times import instant
from hitl_cli.requests.outcome import given_reason, headline
from hitl_cli.requests.parts import VIEW, in_short
from hitl_cli.requests.question import means_at_deadline

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.notify.messages import Message, MessageItem
    from hitl_cli.requests.notification import Occasion
    from hitl_cli.requests.question import Question

SUBJECT_CHARS = 150
TITLE_CHARS = 200
PROMPT_CHARS = 2_000
VALUE_CHARS = 200
NAME_CHARS = 60
ROWS = 12
"""Limits for what a message shows of a request. The page shows all."""


SIGNATURE = "Signature"
"""The name of the fact that says how to sign."""

INSTEAD_OF = "For"
"""The name of the fact that says for whom a deputy answers."""


class Fact(Struct, frozen=True):
    """A fact about a request: its name and its text."""

    name: str
    text: str


def subject_of(message: Message) -> str:
    """Return the subject on one line."""
    return one_line(message.subject, SUBJECT_CHARS)


def title_of(item: MessageItem) -> str:
    """Return the title of a request on one line."""
    return one_line(plain(item.title) or item.request, TITLE_CHARS)


def plain(title: str) -> str:
    """Return a prompt's first line without Markdown."""
    from hitl_cli.format.markdown import as_words

    return as_words(title)


def body_of(item: MessageItem) -> str:
    """Return the prompt without its title; it may have several lines."""
    lines = item.question.prompt.strip().splitlines()
    rest = "\n".join(lines[1:]).strip() if lines and item.title in lines[0] else item.question.prompt
    shown = printable_lines(rest[: PROMPT_CHARS + 1].strip())
    return "" if rest == item.title else cut(shown, PROMPT_CHARS)


LEADS: dict[Occasion, str] = {
    "asked": "A request is waiting for your decision.",
    "reminder": "This request is still waiting for your decision.",
    "assigned": "This request was assigned to you.",
    "deputy": "An assignee of this request is away, and you are their deputy: you can decide it.",
    "escalated": "Nobody has answered this request yet, so it is now assigned to you too.",
    "asked-back": "An assignee has a question about your request, and needs your answer to decide.",
    "answered-back": "The question about this request is answered. It is waiting for your decision.",
    "digest": "News of your requests since the last message.",
    "test": "This is a test message from hitl. You do not need to do anything.",
}
"""Why a person receives a message; for outcomes, OVER."""

OVER = "You no longer need to answer this request."


def lead_of(message: Message) -> str:
    """Return the sentence that says why a person receives a message."""
    if message.occasion == "asked" and len(message.items) == 1 and (asker := message.items[0].asker):
        return f"{one_line(asker, TITLE_CHARS)} asks for your decision."
    if message.occasion == "sign-in":
        from hitl_cli.auth.sign_in import LIFE_MS

        return (
            f"Use this link to sign in. It works once, for {LIFE_MS // 60_000} minutes."
            " If you did not request it, ignore this message."
        )
    return LEADS.get(message.occasion, OVER)


def outcome_of(item: MessageItem) -> str:
    """Return the outcome of a request as a sentence; empty while it is open."""
    if item.outcome is None:
        return ""
    late = item.outcome == "expired"
    outcome = means_at_deadline(item.question) if late else item.outcome
    text = headline(outcome, by=item.by, answer=item.answer, deadline=late)
    reason = None if late else given_reason(outcome, item.reason)
    return one_line(f"{text} ({reason})" if reason else text, PROMPT_CHARS)


def facts_of(item: MessageItem, at: int) -> list[Fact]:
    """Return the facts about a request at an instant (ms since the epoch)."""
    facts = []
    if item.asked_back is not None and item.outcome is None:
        by = f"{item.asked_back.by} says" if item.asked_back.by else "Somebody says"
        facts.append(Fact(one_line(by, NAME_CHARS), cut(printable_lines(item.asked_back.text), PROMPT_CHARS)))
    if item.question.refused is not None and item.outcome is None:
        refused = item.question.refused
        facts.append(
            Fact("Asked again", one_line(f"the answer could not be used: {refused.why}", PROMPT_CHARS))
        )
    if item.changes:
        facts.append(Fact("Changed", one_line("; ".join(one.sentence for one in item.changes), PROMPT_CHARS)))
    people = {"From": item.asker or "", INSTEAD_OF: ", ".join(f"{one} (away)" for one in item.deputy_for)}
    facts += [Fact(name, one_line(text, VALUE_CHARS)) for name, text in people.items() if text]
    if item.question.priority != "normal":
        facts.append(Fact("Priority", item.question.priority))
    if item.outcome is None:
        left = f" (in {format_duration(item.deadline - at)})" if item.deadline > at else " (passed)"
        facts.append(Fact("Deadline", f"{instant(item.deadline):%Y-%m-%d %H:%M} UTC{left}"))
    if item.question.proof is not None and item.outcome is None:
        facts.append(Fact(SIGNATURE, one_line(_how_to_sign(item), VALUE_CHARS)))
    if item.question.choices and item.outcome is None:
        facts.append(Fact("Choices", one_line(", ".join(item.question.choices), VALUE_CHARS)))
    if item.question.link:
        facts.append(Fact("Link", one_line(item.question.link, PROMPT_CHARS)))
    facts.append(Fact("Request", one_line(item.request, VALUE_CHARS)))
    return facts


def _how_to_sign(item: MessageItem) -> str:
    """Return how to sign the decision on a request that needs a signature."""
    if item.question.proof == "passkey":
        return "sign with your passkey on the page"
    return f"sign with your passkey on the page, or: {command('approve', [item.request], ['--sign'])}"


def content_of(question: Question) -> list[Fact]:
    """Return the details and the arguments of a request, shortened."""
    arguments = question.arguments
    asked = [] if arguments is None else [Fact("Arguments", _as_text(arguments))]
    return [*_details_of(question.details), *asked]


def _details_of(details: Json) -> list[Fact]:
    """Return the details of a request, shortened. Their names are from the workflow's author."""
    if details is None:
        return []
    if not isinstance(details, dict) or VIEW in details:
        return [Fact("Details", _as_text(details))]
    rows = [Fact(one_line(name, NAME_CHARS), _as_text(value)) for name, value in list(details.items())[:ROWS]]
    more = len(details) - len(rows)
    return [*rows, Fact("…", f"and {more:,} more on the page")] if more else rows


def _as_text(value: Json) -> str:
    shown = in_short(value)
    return one_line(shown if isinstance(shown, str) else to_json(shown), VALUE_CHARS)


def shows_arguments(question: Question) -> bool:
    """Whether a message shows all arguments of a request in full, so that it may have an Approve button."""
    arguments = question.arguments
    whole = arguments if isinstance(arguments, str) else to_json(arguments)
    return arguments is None or _as_text(arguments) == whole


def is_yes_or_no(item: MessageItem) -> bool:
    """Whether a request is open and can be approved without its page: no form, choices or signature."""
    question = item.question
    plain = not question.choices and question.form is None and question.proof is None
    to_asker = item.asked_back is not None and item.asked_back.to_asker
    return item.outcome is None and plain and not to_asker


def one_line(text: str, limit: int) -> str:
    """Return a text on one line, cut to a number of characters."""
    return cut(printable(text[: limit + 1].strip()), limit)
