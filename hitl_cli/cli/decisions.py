"""`hitl approve` and `hitl reject`: a person's answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli.cli.shared import AsJson, Server, Token, Who, complete_promise, note, open_client, print_json
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.inbox.deciding import MAX_ANSWER_BYTES, approval, by_whom, decide, rejection
from hitl_cli.settings import Settings
from hitl_cli.text import printable
from hitl_cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client import Client
    from hitl_cli.inbox.deciding import Answer, Decided
    from hitl_cli.people import Groups

MAX_FILE_BYTES = MAX_ANSWER_BYTES

Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="A promise, or a workflow that waits for one answer.",
        autocompletion=complete_promise,
    ),
]
Comment = Annotated[
    str | None, typer.Option("--comment", metavar="TEXT", help="A remark that is kept with the decision.")
]


def approve(
    ctx: typer.Context,
    ids: Ids,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="JSON|@FILE|-", help="What the workflow gets; true if not given. - reads stdin."
        ),
    ] = None,
    comment: Comment = None,
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Approve: the workflow goes on with the data given."""
    settings = Settings()
    answer = approval(
        by=settings.person(who).value,
        via="cli",
        data=msgspec.UNSET if data is None else read_data(data),
        comment=comment,
    )
    with open_client(ctx, server, token) as client:
        answer_all(client, ids, answer, settings.groups(), as_json=as_json)


def reject(
    ctx: typer.Context,
    ids: Ids,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; the workflow sees it.")
    ] = None,
    comment: Comment = None,
    who: Who = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Reject: the workflow sees an error with the reason."""
    settings = Settings()
    answer = rejection(by=settings.person(who).value, via="cli", reason=reason, comment=comment)
    with open_client(ctx, server, token) as client:
        answer_all(client, ids, answer, settings.groups(), as_json=as_json)


def read_data(text: str) -> Any:
    """Return the JSON that `--data` names. Raises BadInput."""
    if text == "-":
        source, raw = "stdin", sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    elif text.startswith("@"):
        source, raw = text[1:], read_file(Path(text[1:]))
    else:
        source, raw = "--data", text.encode(errors="surrogateescape")
    if len(raw) > MAX_FILE_BYTES:
        raise BadInput(
            f"{source} is larger than {MAX_FILE_BYTES:,} bytes, the most that an answer may carry."
        )
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = " A text needs quotes, as in --data '\"text\"'." if source == "--data" else ""
        raise BadInput(f"{source} is not JSON: {error}.{hint}") from error


def read_file(path: Path) -> bytes:
    """Return the start of a file, one byte more than may be used."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def answer_all(client: Client, ids: Sequence[str], answer: Answer, groups: Groups, *, as_json: bool) -> None:
    """Answer each; a failure does not stop the rest, and the last is raised at the end."""
    decided: list[Decided] = []
    failures: list[HitlError] = []
    for id in ids:
        try:
            one = decide(client, id, answer, groups)
        except HitlError as error:
            failures.append(error)
            continue
        decided.append(one)
        if not as_json:
            print(printable(sentence(one, client.now())))
    if as_json:
        documents = [as_document(one) for one in decided]
        if len(ids) > 1:
            print_json(documents)
        elif documents:
            print_json(documents[0])
    if failures:
        for failure in failures[:-1]:
            note(f"hitl: {failure}")
        raise failures[-1]


def sentence(one: Decided, now: int) -> str:
    """Return what happened, and to what."""
    verb = "approved" if one.verdict == "approve" else "rejected"
    of = f" of workflow {one.workflow}" if one.workflow != one.promise.id else ""
    if one.votes is not None and not one.settled:
        so_far = f"{one.votes.leading} of {one.approvals} approve so far"
        return f"{one.promise.id}{of}: the vote of {one.audit.by} is kept, {so_far}"
    if one.audit.choice is not None:
        verb = f"answered {one.audit.choice!r}"
    if one.fresh:
        return f"{one.promise.id}{of} {verb} by {one.audit.by}"
    return f"{one.promise.id}{of} had already been {verb}{by_whom(one.promise, now)}"


def as_document(one: Decided) -> dict[str, Any]:
    """Return the decision as `--json` shows it."""
    audit = one.audit
    at = audit.at or one.promise.settled_at
    return {
        "id": one.promise.id,
        "state": one.promise.state,
        "decision_id": audit.id,
        "by": audit.by,
        "via": audit.via,
        "at": None if at is None else iso(at),
        "comment": audit.comment,
        "choice": audit.choice,
        "data": one.data,
        "reason": one.reason,
        "fresh": one.fresh,
        "votes": [] if one.votes is None else msgspec.to_builtins(one.votes.votes),
    }
