"""`hitl approve`, `reject`, `answer` and `comment`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET

from hitl_cli.cli.bulk import Dry, Match, Stdin, Yes, answer_many, named, tell_idle
from hitl_cli.cli.context import AsPerson, given_stdin, inbox_of, read_json, read_stdin, without_mark
from hitl_cli.cli.options import AsJson, Id, Ids, Sign, SshKey, argument, flag, value
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.cli.render.decision import sentence
from hitl_cli.errors import BadAnswer, BadInput, BadUsage, TooLarge
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.votes import differing_votes
from hitl_cli.requests.decision_input import MAX_ANSWER_BYTES, MAX_COMMENT_BYTES, DecisionInput
from hitl_cli.requests.editable import answer_form, changed
from hitl_cli.requests.question import PLAIN, question_of
from hitl_cli.views.decision import KeptCommentDocument, decision_result_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor
    from hitl_cli.proof.signing import Signer
    from hitl_cli.settings import Settings

Data = Annotated[
    str | None, value("JSON|@FILE|-", "Data for the workflow. Default: true. - reads stdin.", "--data")
]
Fields = Annotated[
    list[str] | None,
    value("FIELD=VALUE", "Set a field of the form or of the arguments (repeatable).", "--set"),
]
Comment = Annotated[str | None, value("TEXT", "Comment to store with the decision.", "--comment")]
Anyway = Annotated[bool, flag("Decide it even if somebody else has claimed it.", "--anyway")]


def approve(
    ctx: AsPerson,
    ids: Ids = None,
    data: Data = None,
    fields: Fields = None,
    comment: Comment = None,
    duration: Annotated[
        str | None,
        value("DURATION", "Also create the standing rule that the request offers, for DURATION.", "--for"),
    ] = None,
    stdin: Stdin = False,
    match: Match = None,
    yes: Yes = False,
    dry: Dry = False,
    anyway: Anyway = False,
    sign: Sign = False,
    key: SshKey = None,
    as_json: AsJson = False,
) -> None:
    """Approve a request. On a terminal, asks for each field of its form."""
    if stdin and data == "-":
        raise BadUsage("--stdin and --data - cannot be combined: both read stdin.")
    answer = _with_data(
        DecisionInput(
            verdict="approve",
            comment=comment,
            unless_claimed=not anyway,
            for_=UNSET if duration is None else duration,
        ),
        data,
        fields,
    )
    one = ids is not None and len(ids) == 1 and not (stdin or match or dry)
    with deciding(ctx, sign=sign, key=key, several=not (one or dry)) as inbox:
        if ids is not None and one:
            _answer_one(inbox, ids[0], _or_asked_for(inbox, answer), as_json=as_json)
            return
        names = named(inbox, ids, stdin=stdin, match=match)
        answer_many(inbox, names, "approve", answer, yes=yes, dry=dry, ids=ids, as_json=as_json)


def reject(
    ctx: AsPerson,
    ids: Ids = None,
    reason: Annotated[str | None, value("TEXT", "Reason, which the workflow gets.")] = None,
    comment: Comment = None,
    stdin: Stdin = False,
    match: Match = None,
    yes: Yes = False,
    dry: Dry = False,
    anyway: Anyway = False,
    sign: Sign = False,
    key: SshKey = None,
    as_json: AsJson = False,
) -> None:
    """Reject a request. The workflow gets the reason."""
    answer = DecisionInput(verdict="reject", reason=reason, comment=comment, unless_claimed=not anyway)
    one = ids is not None and len(ids) == 1 and not (stdin or match or dry)
    with deciding(ctx, sign=sign, key=key, several=not (one or dry)) as inbox:
        if ids is not None and one:
            _answer_one(inbox, ids[0], answer, as_json=as_json)
            return
        names = named(inbox, ids, stdin=stdin, match=match)
        answer_many(inbox, names, "reject", answer, yes=yes, dry=dry, ids=ids, as_json=as_json)


def answer(
    ctx: AsPerson,
    id: Id,
    text: Annotated[str, argument("ANSWER", "A choice, the requested value, or yes or no.")],
    data: Data = None,
    fields: Fields = None,
    comment: Comment = None,
    anyway: Anyway = False,
    sign: Sign = False,
    key: SshKey = None,
    as_json: AsJson = False,
) -> None:
    """Answer a request with one of its choices, or with the value that it asks for."""
    said = _with_data(DecisionInput(answer=text, comment=comment, unless_claimed=not anyway), data, fields)
    with deciding(ctx, sign=sign, key=key) as inbox:
        _answer_one(inbox, id, _or_asked_for(inbox, said), as_json=as_json)


def comment(
    ctx: AsPerson,
    id: Id,
    text: Annotated[str, argument("TEXT", "The comment. - reads stdin.")],
    as_json: AsJson = False,
) -> None:
    """Add a comment to a request without deciding it."""
    said = read_stdin(MAX_COMMENT_BYTES + 1).strip() if text == "-" else text
    with ctx.opened(inbox_of) as (inbox, _):
        request, person = inbox.comment(id, said), inbox.actor.person
        if as_json:
            print_json(KeptCommentDocument(id=request.id, state=request.state, by=person, comment=said))
        else:
            print(printable(f"{request.id}: comment by {person} added"))


@contextmanager
def deciding(ctx: AsPerson, *, sign: bool, key: Path | None, several: bool = False) -> Iterator[Inbox]:
    """Open the inbox of the person who decides, with their signer, if any; `several`: for many requests."""
    settings = ctx.settings
    with ctx.opened(inbox_of) as (inbox, _):
        inbox.signer = signer_of(settings, inbox.actor, sign=sign, key=key)
        chosen = None if inbox.signer is None or not several else settings.ssh_key(key)
        if chosen is not None:
            from hitl_cli.proof.ssh import asks_each_time

            if asks_each_time(chosen):
                note(
                    "Each decision is signed separately, so you may have to type the passphrase or touch the"
                    " key for each."
                )
        yield inbox


def signer_of(
    settings: Settings,
    actor: Actor,
    *,
    sign: bool,
    key: Path | None,
    tell: Callable[[str], None] = note,
    quiet: bool = False,
) -> Signer | None:
    """Return what signs the decisions of a person; None if they do not sign. See `ssh_signer`."""
    if not (sign or key is not None or settings.sign):
        return None
    from hitl_cli.proof.signing import ssh_signer, usable_keys

    return ssh_signer(settings.ssh_key(key), usable_keys(actor.person, actor.groups), tell=tell, quiet=quiet)


def _with_data(answer: DecisionInput, data: str | None, fields: list[str] | None) -> Said:
    """Return the answer with the data of `--data`, or of `--set` and the form of the request.

    Raises BadInput, also if both are given.
    """
    from hitl_cli.forms.paths import split_assignment

    whole = UNSET if data is None else _read_data(data)
    given = [split_assignment(one) for one in fields or []]
    if not given:
        return msgspec.structs.replace(answer, data=whole)
    if data is not None:
        raise BadAnswer("--data and --set cannot be combined: pass one of them.")

    def fill(item: RequestSummary) -> DecisionInput:
        from hitl_cli.inbox.decide import filled

        return msgspec.structs.replace(answer, data=filled(item.asked, given))

    return fill


def _or_asked_for(inbox: Inbox, answer: Said) -> Said:
    """Return the answer. If it has no data, let the person on the terminal fill in the form."""
    if callable(answer) or answer.data is not UNSET or not is_terminal(sys.stdin, sys.stdout, sys.stderr):
        return answer

    def fill(item: RequestSummary) -> DecisionInput:
        from hitl_cli.cli.form_prompt import fill_in

        asked, said = item.asked, answer.answer is not None
        form = answer_form(asked)
        if item.promise.state != "pending" or form is None or (said and not asked.choices):
            return answer
        others = inbox.show(item).approved_by_others(inbox.actor.person) if asked.several else []
        return msgspec.structs.replace(answer, data=fill_in(form, title=asked.title, others=others))

    return fill


def _read_data(text: str) -> Any:
    """Return the JSON value of `--data`. Raises BadInput."""
    if text == "-":
        source, raw = "stdin", without_mark(given_stdin().read(MAX_ANSWER_BYTES + 1))
    elif text.startswith("@"):
        source, raw = text[1:], read_file(Path(text[1:]))
    else:
        source, raw = "--data", text.encode()
    if len(raw) > MAX_ANSWER_BYTES:
        raise TooLarge(f"{source} is larger than {MAX_ANSWER_BYTES:,} bytes, the limit for an answer.")
    hint = " Text needs quotes, for example --data '\"text\"'." if source == "--data" else ""
    return read_json(raw, source, hint)


def read_file(path: Path) -> bytes:
    """Return the start of a file, up to one byte more than the limit."""
    try:
        with path.open("rb") as file:
            return without_mark(file.read(MAX_ANSWER_BYTES + 1))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error


def _answer_one(inbox: Inbox, id: str, answer: Said, *, as_json: bool) -> None:
    """Answer one request, and print the outcome."""
    found: list[RequestSummary] = []

    def said(item: RequestSummary) -> DecisionInput:
        found.append(item)
        given = answer(item) if callable(answer) else answer
        for one in () if given.data is UNSET else changed(item.asked, given.data):
            for line in [f"changes {one.sentence}", *(one.diff or [])]:
                note(line)
        return given

    decided = inbox.decide(id, said)
    votes = decided.audit.votes if decided.votes is None else decided.votes.votes
    for one in differing_votes(question_of(decided.promise) or PLAIN, votes):
        note(f"answers differ: {one.sentence}")
    if as_json:
        print_json(decision_result_document(decided))
    else:
        print(printable(sentence(decided, inbox.client.now())), flush=True)
        tell_idle(inbox.client, found if decided.settled else [])
