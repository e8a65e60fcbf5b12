"""The commands that answer a request, ready to copy into a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from hitl_cli.format.shell import command
from hitl_cli.requests.question import fields_of

if TYPE_CHECKING:
    from hitl_cli.forms import Field
    from hitl_cli.inbox.details import RequestDetails


def commands(seen: RequestDetails, server: str | None = None) -> list[str]:
    """Return the commands that answer a request, one for each choice, with placeholders in capitals.

    `server` is the server that was given on the command line.
    """
    there = [] if server is None else ["-S", server]
    id, question = seen.item.id, seen.item.question
    comment = command("comment", [id, "TEXT"], [*there])
    if seen.decision is not None or question is None:
        return [comment]
    if question.proof == "passkey":
        return [command("open", [id], there), comment]  # only the gateway's page can sign with a passkey
    there += [] if question.proof is None else ["--sign"]
    asked = fields_of(question)
    needed = [f for f in asked if f.required and f.default is UNSET]
    options = [part for f in needed if f.path for part in ("--set", f"{f.path}={_placeholder(f)}")]
    alone = next((f for f in asked if not f.path), None) if question.editable is None else None
    if question.choices and alone is not None:
        options = ["--data", "JSON"]
    if question.choices:
        yes = [command("answer", [id, choice], [*options, *there]) for choice in question.choices]
    elif alone is not None:
        yes = [command("answer", [id, _placeholder(alone)], there)]
    else:
        yes = [command("approve", [id], [*options, *there])]
    changeable = [field for field in asked if not field.read_only] if question.editable is not None else []
    if changeable and not question.choices:
        change = f"{changeable[0].path}={_placeholder(changeable[0])}"
        yes.append(command("approve", [id], ["--set", change, *there]))
    return [*yes, command("reject", [id], ["--reason", "TEXT", *there]), comment]


def _placeholder(field: Field) -> str:
    """Return the placeholder for the value of a field."""
    if field.labels and len(field.labels) == 1:
        return field.labels[0]
    return {"text": "TEXT", "boolean": "yes", "list": "A,B", "json": "JSON"}.get(
        field.kind, field.kind.upper()
    )
