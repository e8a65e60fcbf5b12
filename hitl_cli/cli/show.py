"""`hitl show`: one request, with all that there is to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hitl_cli.cli.answering import commands, fields_of
from hitl_cli.cli.pending import as_document
from hitl_cli.cli.request import print_request
from hitl_cli.cli.runs import step_document
from hitl_cli.cli.shared import AsJson, Server, Token, complete_promise, open_client, print_json
from hitl_cli.inbox.details import details
from hitl_cli.inbox.lookup import find
from hitl_cli.settings import Settings
from hitl_cli.times import iso
from hitl_cli.wire import decode

if TYPE_CHECKING:
    from hitl_cli.forms import Field
    from hitl_cli.inbox.details import Details
    from hitl_cli.inbox.history import Entry
    from hitl_cli.notify.told import Told

INNER = ("keys", "needed", "pointers", "item")
"""What of a field is no one's business but the form's."""


def show(
    ctx: typer.Context,
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A promise, a key, the beginning of an id, or a workflow that asks one thing.",
            autocompletion=complete_promise,
        ),
    ],
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show all of one request: what is asked, of whom, what was said so far, and how to answer it."""
    settings = Settings()
    named = server or (ctx.obj or {}).get("server")
    with open_client(ctx, server, token, settings) as client:
        seen = details(client, find(client, id), settings.groups())
        if as_json:
            print_json(document(seen, named))
        else:
            print_request(seen, named)


def document(seen: Details, server: str | None = None) -> dict[str, Any]:
    """Return the request as `--json` shows it."""
    item, question = seen.item, seen.item.question
    known = {} if question is None else msgspec.to_builtins(question)
    escalate = [
        {"at": iso(item.created_at + step.after), "to": list(step.to)} for step in item.asked.escalate
    ]
    return {
        **as_document(item, item.now),
        "state": seen.promise.state,
        "title": item.prompt,
        "prompt": known.get("prompt"),
        "readable": question is not None,
        "param": None if known else decode(seen.promise.param),
        "details": known.get("details"),
        "form": known.get("form"),
        "fields": [field_document(field) for field in fields_of(item.asked)],
        "allow_self": item.asked.allow_self,
        "on_deadline": known.get("onDeadline", "expire"),
        "escalate": escalate,
        "link": known.get("link"),
        "digest": known.get("digest"),
        "votes_cast": [{**msgspec.to_builtins(vote), "at": iso(vote.at)} for vote in seen.votes],
        "comments": [{**msgspec.to_builtins(one), "at": iso(one.at)} for one in seen.comments],
        "told": [told_document(told) for told in seen.told],
        "before": [step_document(node) for node in seen.before],
        "decision": None if seen.decision is None else decision_document(seen.decision),
        "answer_with": commands(seen, server),
    }


def told_document(told: Told) -> dict[str, Any]:
    """Return who was told, and how, as `--json` shows it."""
    last = told.last
    return {
        "who": told.who,
        "occasion": told.occasion,
        "since": iso(told.since),
        "outcome": told.standing,
        "at": None if last is None else iso(last.at),
        "channel": None if last is None else last.channel,
        "why": None if last is None else last.why,
        "digest": last is not None and last.digest,
        "next_at": None if told.next_at is None else iso(told.next_at),
        "tries": [
            {"at": iso(tried.at), "outcome": tried.outcome, "channel": tried.channel, "why": tried.why}
            for tried in told.tries
        ],
    }


def decision_document(made: Entry) -> dict[str, Any]:
    """Return the decision as `--json` shows it."""
    return {
        "outcome": made.outcome,
        "by": made.by,
        "via": made.via,
        "at": iso(made.at),
        "waited_s": made.waited_ms // 1_000,
        "deadline": made.deadline,
        "choice": made.choice,
        "data": made.data,
        "reason": made.reason,
        "comment": made.comment,
    }


def field_document(field: Field) -> dict[str, Any]:
    """Return a field of the form as `--json` shows it."""
    shown = msgspec.to_builtins(field)
    return {name: value for name, value in shown.items() if name not in INNER}
