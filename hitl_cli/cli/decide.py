"""`hitl approve`, `reject`, `answer` and `comment`: what a person says to a request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli.cli.bulk import Dry, Match, Stdin, Yes, answer_many, named
from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import at_terminal, given_stdin, open_client, read_stdin
from hitl_cli.cli.options import AsJson, Server, Token, Who
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.decision import sentence
from hitl_cli.errors import BadInput, BadJson, BadUsage, TooLarge
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.comments import MAX_COMMENT_BYTES
from hitl_cli.inbox.comments import comment as leave_comment
from hitl_cli.inbox.decide import MAX_ANSWER_BYTES, approval, decide_promise, rejection
from hitl_cli.inbox.resolve import find
from hitl_cli.requests.question import question_of
from hitl_cli.settings import Settings
from hitl_cli.views.decision import KeptCommentDocument, decision_result_document

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.decide import DecisionInput
    from hitl_cli.people.groups import Groups

MAX_FILE_BYTES = MAX_ANSWER_BYTES

WHAT = "A promise, a key, the beginning of an id, or a workflow that waits for one answer."

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help=WHAT, autocompletion=complete_promise)]
Id = Annotated[str, typer.Argument(metavar="ID", help=WHAT, autocompletion=complete_promise)]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="JSON|@FILE|-", help="What the workflow gets; true if not given. - reads stdin."
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Fill in a field of the form; may be repeated."),
]
Comment = Annotated[
    str | None, typer.Option("--comment", metavar="TEXT", help="A remark that is kept with the decision.")
]


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
    settings = Settings()
    if stdin and data == "-":
        raise BadUsage("stdin can carry the ids or the data, not both.")
    answer = approval(
        by=settings.person(who).value,
        via="cli",
        data=msgspec.UNSET if data is None else _read_data(data),
        fields=_read_fields(fields),
        comment=comment,
    )
    with open_client(ctx, server, token, settings) as client:
        if _is_one(ids, stdin=stdin, match=match, dry=dry):
            promise = find(client, ids[0] if ids else "")
            _answer_one(client, promise, _completed(promise, answer), settings.groups(), as_json=as_json)
            return
        names = named(client, ids, stdin=stdin, match=match, groups=settings.groups())
        answer_many(client, names, answer, settings.groups(), yes=yes, dry=dry, ids=ids, as_json=as_json)


def reject(
    ctx: typer.Context,
    ids: Ids = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; the workflow sees it.")
    ] = None,
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
    settings = Settings()
    answer = rejection(by=settings.person(who).value, via="cli", reason=reason, comment=comment)
    with open_client(ctx, server, token, settings) as client:
        if _is_one(ids, stdin=stdin, match=match, dry=dry):
            promise = find(client, ids[0] if ids else "")
            _answer_one(client, promise, answer, settings.groups(), as_json=as_json)
            return
        names = named(client, ids, stdin=stdin, match=match, groups=settings.groups())
        answer_many(client, names, answer, settings.groups(), yes=yes, dry=dry, ids=ids, as_json=as_json)


def answer(
    ctx: typer.Context,
    id: Id,
    text: Annotated[
        str,
        typer.Argument(
            metavar="ANSWER", help="One of the choices; or the value that is asked for; or yes or no."
        ),
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
    settings = Settings()
    given = approval(
        by=settings.person(who).value,
        via="cli",
        text=text,
        data=msgspec.UNSET if data is None else _read_data(data),
        fields=_read_fields(fields),
        comment=comment,
    )
    with open_client(ctx, server, token, settings) as client:
        promise = find(client, id)
        _answer_one(client, promise, _completed(promise, given), settings.groups(), as_json=as_json)


def comment(
    ctx: typer.Context,
    id: Id,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The remark; - reads stdin.")],
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Leave a remark on a request without deciding it."""
    settings = Settings()
    person = settings.person(who).value
    said = read_stdin(MAX_COMMENT_BYTES + 1).strip() if text == "-" else text
    with open_client(ctx, server, token, settings) as client:
        request = leave_comment(client, id, said, by=person, via="cli")
        if as_json:
            print_json(KeptCommentDocument(id=request.id, state=request.state, by=person, comment=said))
        else:
            print(printable(f"{request.id}: the comment of {person} is kept"))


def _is_one(ids: list[str] | None, *, stdin: bool, match: str | None, dry: bool) -> bool:
    """Whether one answer is given, by name."""
    return ids is not None and len(ids) == 1 and not (stdin or match or dry)


def _completed(promise: Promise, answer: DecisionInput) -> DecisionInput:
    """Return the answer with its form filled in, where a person at a terminal has yet to do that."""
    question = question_of(promise)
    asks = promise.state == "pending" and question is not None and question.form is not None
    said = answer.text is not None and question is not None and not question.choices
    if not asks or said or answer.fields or answer.data is not msgspec.UNSET:
        return answer
    if not at_terminal():
        return answer
    from hitl_cli.cli.form_prompt import fill_in

    assert question is not None  # noqa: S101
    return msgspec.structs.replace(answer, data=fill_in(question.form, title=question.title))


def _read_fields(texts: list[str] | None) -> list[tuple[str, str]]:
    """Return the names and values of `--set NAME=VALUE`. Raises BadInput."""
    from hitl_cli.forms.paths import split_assignment

    return [split_assignment(text) for text in texts or []]


def _read_data(text: str) -> Any:
    """Return the JSON that `--data` names. Raises BadInput."""
    if text == "-":
        source, raw = "stdin", given_stdin().read(MAX_FILE_BYTES + 1)
    elif text.startswith("@"):
        source, raw = text[1:], read_file(Path(text[1:]))
    else:
        source, raw = "--data", text.encode(errors="surrogateescape")
    if len(raw) > MAX_FILE_BYTES:
        raise TooLarge(
            f"{source} is larger than {MAX_FILE_BYTES:,} bytes, the most that an answer may carry."
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
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error


def _answer_one(
    client: Client, promise: Promise, answer: DecisionInput, groups: Groups, *, as_json: bool
) -> None:
    """Answer one request, and print what came of it."""
    decided = decide_promise(client, promise, answer, groups)
    if as_json:
        print_json(decision_result_document(decided))
    else:
        print(printable(sentence(decided, client.now())))
