"""`hitl ask-back` and `answer-back`: a question to the asker before a decision, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.context import AsPerson, inbox_of, read_stdin
from hitl_cli.cli.options import AsJson, Id, argument
from hitl_cli.cli.output import print_json
from hitl_cli.format.terminal import printable
from hitl_cli.requests.decision_input import MAX_COMMENT_BYTES
from hitl_cli.views.pending import thread_entry_document

if TYPE_CHECKING:
    from hitl_cli.inbox.thread import ThreadEntry


def ask_back(
    ctx: AsPerson,
    id: Id,
    text: Annotated[str, argument("TEXT", "The question. - reads stdin.")],
    as_json: AsJson = False,
) -> None:
    """Ask the person who sent a request something before you decide. The request waits for the answer."""
    with ctx.opened(inbox_of) as (inbox, _):
        _print(inbox.ask_back(id, _text(text)), "asked back by", as_json=as_json)


def answer_back(
    ctx: AsPerson,
    id: Id,
    text: Annotated[str, argument("TEXT", "The answer. - reads stdin.")],
    as_json: AsJson = False,
) -> None:
    """Answer a question about your request. Its assignees can then decide."""
    with ctx.opened(inbox_of) as (inbox, _):
        _print(inbox.answer_back(id, _text(text)), "answered by", as_json=as_json)


def _text(text: str) -> str:
    return read_stdin(MAX_COMMENT_BYTES + 1).strip() if text == "-" else text


def _print(entry: ThreadEntry, how: str, *, as_json: bool) -> None:
    if as_json:
        print_json(thread_entry_document(entry))
    else:
        print(printable(f"{entry.request}: {how} {entry.by}"))
