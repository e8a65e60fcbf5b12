"""What a message says, in words and facts that every channel shows in its own way.

What comes from a request is hostile, and may be endless: it is cut, and what nobody would see is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.format.durations import format_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import cut, printable, printable_lines
from hitl_cli.format.times import instant

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.notify.messages import Message, MessageItem

SUBJECT_CHARS = 150
TITLE_CHARS = 200
PROMPT_CHARS = 2_000
VALUE_CHARS = 200
NAME_CHARS = 60
ROWS = 12
"""So much of a request is shown in a message; the page has all of it."""


class Fact(Struct, frozen=True):
    """Something to know of a request: what it is, and its text."""

    name: str
    text: str


def subject_of(message: Message) -> str:
    """Return the subject on one line."""
    return one_line(message.subject, SUBJECT_CHARS)


def title_of(item: MessageItem) -> str:
    """Return what is asked on one line."""
    return one_line(plain(item.title) or item.request, TITLE_CHARS)


def plain(title: str) -> str:
    """Return what the first line of a prompt says, without the marks of Markdown."""
    from hitl_cli.format.markdown import as_words

    return as_words(title)


def body_of(item: MessageItem) -> str:
    """Return what the prompt says besides its title; it may have several lines."""
    lines = item.question.prompt.strip().splitlines()
    rest = "\n".join(lines[1:]).strip() if lines and item.title in lines[0] else item.question.prompt
    shown = printable_lines(rest[: PROMPT_CHARS + 1].strip())
    return "" if rest == item.title else cut(shown, PROMPT_CHARS)


def lead_of(message: Message) -> str:
    """Return the sentence that says why somebody is told."""
    match message.occasion:
        case "asked":
            asker = message.items[0].asker if len(message.items) == 1 else None
            return f"{one_line(asker, TITLE_CHARS)} asks you." if asker else "This waits for your answer."
        case "reminder":
            return "This still waits for your answer."
        case "escalated":
            return "Nobody has answered this yet, and so you are asked too."
        case "digest":
            return "This has come together for you."
        case "test":
            return "This is a test: what is sent to you arrives. Nothing waits for your answer because of it."
        case "sign-in":
            return (
                "By this you sign in. It is good once, and for a few minutes. If it was not you who asked"
                " for it, leave it alone."
            )
        case "approved" | "rejected" | "expired" | "canceled":
            return "You were asked this, and need not answer any more."


def outcome_of(item: MessageItem) -> str:
    """Return what came of a request; empty while it waits."""
    if item.outcome is None:
        return ""
    text = {"expired": "The deadline passed", "canceled": "It was canceled"}.get(
        item.outcome, item.outcome.capitalize()
    )
    text += f" by {item.by}" if item.by else ""
    text += f": {item.choice}" if item.choice else ""
    text += f" ({item.reason})" if item.reason and item.reason != item.outcome else ""
    return one_line(text, PROMPT_CHARS)


def facts_of(item: MessageItem, at: int) -> list[Fact]:
    """Return what hitl knows of a request, as of an instant (ms since the epoch)."""
    facts = []
    if item.question.refused is not None and item.outcome is None:
        refused = item.question.refused
        facts.append(Fact("Asked again", one_line(f"the answer did not fit: {refused.why}", PROMPT_CHARS)))
    if item.asker:
        facts.append(Fact("From", one_line(item.asker, VALUE_CHARS)))
    if item.question.priority != "normal":
        facts.append(Fact("Priority", item.question.priority))
    if item.outcome is None:
        left = f" (in {format_duration(item.deadline - at)})" if item.deadline > at else " (it has passed)"
        facts.append(Fact("Deadline", f"{instant(item.deadline):%Y-%m-%d %H:%M} UTC{left}"))
    if item.question.choices and item.outcome is None:
        facts.append(Fact("Choices", one_line(", ".join(item.question.choices), VALUE_CHARS)))
    if item.question.link:
        facts.append(Fact("More", one_line(item.question.link, PROMPT_CHARS)))
    facts.append(Fact("Request", one_line(item.request, VALUE_CHARS)))
    return facts


def details_of(details: Json) -> list[Fact]:
    """Return the details of a request, in short; their names are whatever its author chose."""
    if details is None:
        return []
    if not isinstance(details, dict):
        return [Fact("Details", _as_text(details))]
    rows = [Fact(one_line(name, NAME_CHARS), _as_text(value)) for name, value in list(details.items())[:ROWS]]
    more = len(details) - len(rows)
    return [*rows, Fact("…", f"and {more:,} more, on the page")] if more else rows


def _as_text(value: Json) -> str:
    return one_line(value if isinstance(value, str) else to_json(value), VALUE_CHARS)


def is_yes_or_no(item: MessageItem) -> bool:
    """Whether a request waits for a plain yes or no, so that one may say so before the page is open."""
    return item.outcome is None and not item.question.choices and item.question.form is None


def one_line(text: str, limit: int) -> str:
    """Return a text on one line, cut to a number of characters."""
    return cut(printable(text[: limit + 1].strip()), limit)
