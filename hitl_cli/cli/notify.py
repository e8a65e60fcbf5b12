"""`hitl notify test` and `list`: how people are reached."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator  # noqa: TC003 - Typer reads the annotations of completions
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hitl_cli.cli.options import AsJson, family
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Cell, Column, print_table
from hitl_cli.errors import HitlError
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from hitl_cli.notify.test_message import TestResult
    from hitl_cli.people.contacts import Contact

app = family("notify", "How people are reached.")


def _complete_name(incomplete: str) -> Iterator[str]:
    """Yield the people and groups that the settings know."""
    with contextlib.suppress(HitlError):
        known = Settings().directory()
        yield from (name for name in (*known.people, *known.groups) if name.startswith(incomplete))


@app.command("test")
def try_(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A person or a group.", autocompletion=_complete_name)
    ],
    channel: Annotated[
        Literal["email", "webhook", "slack", "apprise", "console"] | None,
        typer.Option("--channel", help="Only this one.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test by each of somebody's channels, and say whether it was taken. Exit 1 if one was not."""
    from hitl_cli.notify.test_message import shown, try_addresses

    with contextlib.redirect_stdout(sys.stderr):  # the console is a channel too
        tried = try_addresses(name, Settings().directory(), channel)
    if as_json:
        print_json([_tried_document(one) for one in tried])
    else:
        rows = [
            [
                Cell(one.to),
                Cell(one.address.kind),
                Cell(shown(one.address)),
                Cell("taken", "green") if one.refused is None else Cell(f"not taken: {one.refused}", "red"),
            ]
            for one in tried
        ]
        print_table([Column("who", whole=True), Column("by"), Column("where"), Column("result")], rows)
    if any(one.refused is not None for one in tried):
        raise typer.Exit(1)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show who is reached how, in the order in which it is tried."""
    from hitl_cli.notify.test_message import everybody

    found = everybody(Settings().directory())
    if as_json:
        print_json([_contact_document(name, contact) for name, contact in found])
        return
    if not found:
        note("The settings name nobody yet: [people.NAME] email = … in hitl.toml.")
        return
    rows = []
    for name, contact in found:
        document = _contact_document(name, contact)
        reached = ", ".join(f"{one['by']} {one['where']}" for one in document["addresses"])
        rows.append([Cell(name), Cell(reached or "-"), Cell(", ".join(document["members"]) or "-")])
    print_table([Column("who", whole=True), Column("reached by"), Column("members")], rows)


def _tried_document(one: TestResult) -> dict[str, Any]:
    """Return what became of a test as `--json` prints it."""
    from hitl_cli.notify.test_message import shown

    return {
        "to": one.to,
        "by": one.address.kind,
        "where": shown(one.address),
        "taken": one.refused is None,
        "why_not": one.refused,
    }


def _contact_document(name: str, contact: Contact) -> dict[str, Any]:
    """Return how somebody is reached as `--json` prints it."""
    from hitl_cli.notify.test_message import shown

    return {
        "name": name,
        "addresses": [{"by": one.kind, "where": shown(one)} for one in contact.addresses],
        "members": list(getattr(contact, "members", ())),
        "digest": contact.digest,
    }
