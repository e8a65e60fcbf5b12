"""Renders a message as text and as HTML for mail, from the templates beside this module."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.notify.phrases import (
    INSTEAD_OF,
    SIGNATURE,
    VALUE_CHARS,
    Fact,
    body_of,
    content_of,
    facts_of,
    is_yes_or_no,
    lead_of,
    one_line,
    outcome_of,
    subject_of,
    title_of,
)

if TYPE_CHECKING:
    from jinja2 import Environment

    from hitl_cli.notify.messages import Message, MessageItem

_SOURCES = {
    file.name: file.read_text(encoding="utf-8")
    for file in Path(__file__).with_name("templates").glob("message.*")
}
"""Read at the start: a newer version that is installed later has templates for other code."""

ITEMS = 30
"""Requests that a message lists at most. The inbox shows all."""

TELLING = ("Asked again", "From", INSTEAD_OF, "Deadline", "Priority", SIGNATURE)
"""The facts to show for each of several requests."""


class _Button(Struct, frozen=True):
    """A link that looks like a button. `kind` sets its color."""

    text: str
    url: str
    kind: str = "plain"


class _Part(Struct, frozen=True, kw_only=True):
    """The part of a message about one request."""

    title: str
    body: str
    outcome: str
    facts: tuple[Fact, ...]
    details: tuple[Fact, ...]
    buttons: tuple[_Button, ...]
    url: str


def text_of(message: Message) -> str:
    """Return a message as plain text."""
    return _templates().get_template("message.txt").render(_context_of(message))


def html_of(message: Message) -> str:
    """Return a message as HTML that every mail program can show."""
    from hitl_cli.format.markdown import as_mail

    return _templates().get_template("message.html").render(_context_of(message), drawn=as_mail)


def _context_of(message: Message) -> dict[str, Any]:
    """Return the context of the templates: all about one request, or a summary of each of several."""
    alone = len(message.items) == 1
    parts = [
        _Part(
            title=title_of(item),
            body=body_of(item) if alone else "",
            outcome=outcome_of(item),
            facts=tuple(fact for fact in facts_of(item, message.at) if alone or fact.name in TELLING),
            details=tuple(content_of(item.question)) if alone else (),
            buttons=_buttons_of(item),
            url=item.url,
        )
        for item in message.items[:ITEMS]
    ]
    return {
        "subject": subject_of(message),
        "lead": lead_of(message),
        "parts": parts,
        "more": max(len(message.items) - ITEMS, 0),
        "inbox": message.inbox,
        "to_do": "Sign in" if message.occasion == "sign-in" else None,
        "to": one_line(message.to, VALUE_CHARS),
    }


def _buttons_of(item: MessageItem) -> tuple[_Button, ...]:
    """Return the buttons. All of them only open the page."""
    if item.outcome is not None:
        return (_Button("See the decision", item.url),)
    if is_yes_or_no(item):
        return (
            _Button("Approve…", f"{item.url}#approve", "yes"),
            _Button("Reject…", f"{item.url}#reject", "no"),
        )
    return (_Button("Answer…", item.url, "yes"),)


@cache
def _templates() -> Environment:
    """Return the templates. Those for HTML escape all texts."""
    from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape

    return Environment(
        loader=DictLoader(_SOURCES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
