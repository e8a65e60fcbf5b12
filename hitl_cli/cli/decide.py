"""`hitl approve`, `reject`, `answer` and `comment`: what a person says to a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import UNSET

from hitl_cli.cli.bulk import Dry, Match, Stdin, Yes, answer_many, named
from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import given_stdin, opened, read_stdin, without_mark
from hitl_cli.cli.options import AsJson, Server, Token, Who, argument, value
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.cli.render.decision import sentence
from hitl_cli.errors import BadAnswer, BadInput, BadJson, BadUsage, TooLarge
from hitl_cli.format.terminal import printable
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.votes import differing_votes
from hitl_cli.requests.decision_input import MAX_ANSWER_BYTES, MAX_COMMENT_BYTES, DecisionInput
from hitl_cli.requests.question import PLAIN, question_of
from hitl_cli.views.decision import KeptCommentDocument, decision_result_document

if TYPE_CHECKING:
    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.pending import RequestSummary

WHAT = "A promise, a key, the beginning of an id, or a workflow that waits for one answer."

Ids = Annotated[list[str] | None, argument("ID...", WHAT, complete=complete_promise)]
Id = Annotated[str, argument("ID", WHAT, complete=complete_promise)]
Data = Annotated[
    str | None, value("JSON|@FILE|-", "What the workflow gets; true if not given. - reads stdin.", "--data")
]
Fields = Annotated[
    list[str] | None, value("FIELD=VALUE", "Fill in a field of the form; may be repeated.", "--set")
]
Comment = Annotated[str | None, value("TEXT", "A remark that is kept with the decision.", "--comment")]


def approve(
    ctx: typer.Context,
    ids: Ids = None,
    data: Data = None,
    fields: Fields = None,
    comment: Comment = None,
    stdin: Stdin = False,
    match: Match = None,
    yes: Yes = False,
    dry: Dry = False,
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Approve: the workflow goes on with the data given. On a terminal, a form is asked field by field."""
    if stdin and data == "-":
        raise BadUsage("stdin can carry the ids or the data, not both.")
    answer = _with_data(DecisionInput(verdict="approve", comment=comment), data, fields)
    with opened(Inbox, ctx, server, token, who) as (inbox, _):
        if ids is not None and len(ids) == 1 and not (stdin or match or dry):
            _answer_one(inbox, ids[0], _or_asked_for(inbox, answer), as_json=as_json)
            return
        names = named(inbox, ids, stdin=stdin, match=match)
        answer_many(inbox, names, "approve", answer, yes=yes, dry=dry, ids=ids, as_json=as_json)


def reject(
    ctx: typer.Context,
    ids: Ids = None,
    reason: Annotated[str | None, value("TEXT", "Why; the workflow sees it.")] = None,
    comment: Comment = None,
    stdin: Stdin = False,
    match: Match = None,
    yes: Yes = False,
    dry: Dry = False,
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Reject: the workflow sees an error with the reason."""
    answer = DecisionInput(verdict="reject", reason=reason, comment=comment)
    with opened(Inbox, ctx, server, token, who) as (inbox, _):
        if ids is not None and len(ids) == 1 and not (stdin or match or dry):
            _answer_one(inbox, ids[0], answer, as_json=as_json)
            return
        names = named(inbox, ids, stdin=stdin, match=match)
        answer_many(inbox, names, "reject", answer, yes=yes, dry=dry, ids=ids, as_json=as_json)


def answer(
    ctx: typer.Context,
    id: Id,
    text: Annotated[
        str, argument("ANSWER", "One of the choices; or the value that is asked for; or yes or no.")
    ],
    data: Data = None,
    fields: Fields = None,
    comment: Comment = None,
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Answer with one of the choices that a request offers, or with the one value that it asks for."""
    said = _with_data(DecisionInput(answer=text, comment=comment), data, fields)
    with opened(Inbox, ctx, server, token, who) as (inbox, _):
        _answer_one(inbox, id, _or_asked_for(inbox, said), as_json=as_json)


def comment(
    ctx: typer.Context,
    id: Id,
    text: Annotated[str, argument("TEXT", "The remark; - reads stdin.")],
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Leave a remark on a request without deciding it."""
    said = read_stdin(MAX_COMMENT_BYTES + 1).strip() if text == "-" else text
    with opened(Inbox, ctx, server, token, who) as (inbox, _):
        request, person = inbox.comment(id, said), inbox.actor.person
        if as_json:
            print_json(KeptCommentDocument(id=request.id, state=request.state, by=person, comment=said))
        else:
            print(printable(f"{request.id}: the comment of {person} is kept"))


def _with_data(answer: DecisionInput, data: str | None, fields: list[str] | None) -> Said:
    """Return an answer with the data of `--data`, or that the form of a request makes of `--set`.

    Raises BadInput, also for both.
    """
    from hitl_cli.forms.paths import split_assignment

    whole = UNSET if data is None else _read_data(data)
    given = [split_assignment(one) for one in fields or []]
    if not given:
        return msgspec.structs.replace(answer, data=whole)
    if data is not None:
        raise BadAnswer("the data is given as a whole or by its fields, not both.")

    def fill(item: RequestSummary) -> DecisionInput:
        from hitl_cli.inbox.decide import filled

        return msgspec.structs.replace(answer, data=filled(item.asked, given))

    return fill


def _or_asked_for(inbox: Inbox, answer: Said) -> Said:
    """Return an answer whose form a person at a terminal fills in, if they gave no data."""
    if callable(answer) or answer.data is not UNSET or not is_terminal(sys.stdin, sys.stdout, sys.stderr):
        return answer

    def fill(item: RequestSummary) -> DecisionInput:
        from hitl_cli.cli.form_prompt import fill_in

        asked, said = item.asked, answer.answer is not None
        if item.promise.state != "pending" or asked.form is None or (said and not asked.choices):
            return answer
        others = inbox.show(item).approved_by_others(inbox.actor.person) if asked.approvals > 1 else []
        return msgspec.structs.replace(answer, data=fill_in(asked.form, title=asked.title, others=others))

    return fill


def _read_data(text: str) -> Any:
    """Return the JSON that `--data` names. Raises BadInput."""
    if text == "-":
        source, raw = "stdin", without_mark(given_stdin().read(MAX_ANSWER_BYTES + 1))
    elif text.startswith("@"):
        source, raw = text[1:], read_file(Path(text[1:]))
    else:
        source, raw = "--data", text.encode(errors="surrogateescape")
    if len(raw) > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"{source} is larger than {MAX_ANSWER_BYTES:,} bytes, the most that an answer may carry."
        )
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = " A text needs quotes, as in --data '\"text\"'." if source == "--data" else ""
        raise BadJson(f"{source} is not JSON: {error}.{hint}") from error


def read_file(path: Path) -> bytes:
    """Return the start of a file, one byte more than may be used."""
    try:
        with path.open("rb") as file:
            return without_mark(file.read(MAX_ANSWER_BYTES + 1))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error


def _answer_one(inbox: Inbox, id: str, answer: Said, *, as_json: bool) -> None:
    """Answer one request, and print what came of it."""
    decided = inbox.decide(id, answer)
    votes = decided.audit.votes if decided.votes is None else decided.votes.votes
    for one in differing_votes(question_of(decided.promise) or PLAIN, votes):
        note(f"not the same: {one.sentence}")
    if as_json:
        print_json(decision_result_document(decided))
    else:
        print(printable(sentence(decided, inbox.client.now())))
