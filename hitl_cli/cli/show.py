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
    from hitl_cli.inbox.details import Details


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
    groups = Settings().groups()
    with open_client(ctx, server, token) as client:
        seen = details(client, find(client, id), groups)
        if as_json:
            print_json(document(seen))
        else:
            print_request(seen)


def document(seen: Details) -> dict[str, Any]:
    """Return the request as `--json` shows it."""
    item, question = seen.item, seen.item.question
    audit, at = seen.audit, seen.decided_at
    known = {} if question is None else msgspec.to_builtins(question)
    escalate = [
        {"at": iso(item.created_at + step.after), "to": list(step.to)} for step in item.asked.escalate
    ]
    decision = {
        "outcome": seen.outcome,
        "by": audit.by,
        "via": audit.via,
        "at": None if at is None else iso(at),
        "waited_s": None if at is None else max(at - item.created_at, 0) // 1_000,
        "choice": audit.choice,
        "data": seen.data,
        "reason": seen.reason,
        "comment": audit.comment,
    }
    return {
        **as_document(item, item.now),
        "state": seen.promise.state,
        "title": item.prompt,
        "prompt": known.get("prompt"),
        "readable": question is not None,
        "param": None if known else decode(seen.promise.param),
        "details": known.get("details"),
        "form": known.get("form"),
        "fields": [msgspec.to_builtins(field) for field in fields_of(item.asked)],
        "allow_self": item.asked.allow_self,
        "on_deadline": known.get("onDeadline", "expire"),
        "escalate": escalate,
        "link": known.get("link"),
        "digest": known.get("digest"),
        "votes": [{**msgspec.to_builtins(vote), "at": iso(vote.at)} for vote in seen.votes],
        "comments": [{**msgspec.to_builtins(one), "at": iso(one.at)} for one in seen.comments],
        "before": [step_document(node) for node in seen.before],
        "decision": None if seen.outcome is None else decision,
        "answer_with": commands(seen),
    }
