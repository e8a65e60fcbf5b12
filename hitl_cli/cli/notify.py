"""`hitl notify test` and `list`: the contacts of people."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli import plugins
from hitl_cli.cli.completion import needs_no_quotes
from hitl_cli.cli.options import AsJson, argument, family, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Cell, Column, print_list, print_table
from hitl_cli.errors import BadUsage, HitlError
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from hitl_cli.people.contacts import Directory

GOOD = Cell("sent", "green")

app = family("notify", "List and test the contacts of people.")


def _complete_name(incomplete: str) -> Iterator[str]:
    """Return the people and groups in the settings."""
    with contextlib.suppress(HitlError):
        known = Settings().directory()
        yield from (
            name
            for name in (*known.people, *known.groups)
            if name.startswith(incomplete) and needs_no_quotes(name)
        )


@app.command("test")
def try_(
    name: Annotated[str, argument("NAME", "A person or a group.", complete=_complete_name)],
    channel: Annotated[
        str | None,
        value(
            "NAME",
            "Only contacts on this channel: email, webhook, slack, apprise, console, or a plugin's.",
            complete=lambda: list(plugins.every("hitl.channels")),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message to each contact of a person. Exits 1 if one fails."""
    from hitl_cli.notify.sample_message import try_addresses
    from hitl_cli.views.contacts import result_document

    if channel is not None and plugins.find("hitl.channels", channel) is None:
        raise BadUsage(
            f"there is no channel {channel!r}: use one of {', '.join(plugins.every('hitl.channels'))}."
        )
    with contextlib.redirect_stdout(sys.stderr):  # the console channel prints, too
        directory = Settings().directory()
        tried = [result_document(one) for one in try_addresses(name, directory, channel)]
    _note_shortcomings(name, directory, {one.by for one in tried})
    if as_json:
        print_json(tried)
    else:
        print_table(
            [
                Column("name", [one.to for one in tried], whole=True),
                Column("channel", [one.by for one in tried]),
                Column("address", [one.where for one in tried]),
                Column(
                    "result",
                    [GOOD if one.taken else Cell(f"failed: {one.why_not}", "red") for one in tried],
                ),
            ]
        )
    if not all(one.taken for one in tried):
        raise typer.Exit(1)


def _note_shortcomings(name: str | None, directory: Directory, kinds: set[str]) -> None:
    """Print warnings on stderr: people without a contact, links that only work on this machine."""
    from hitl_cli.notify.shortcomings import of_gateway, of_members

    if kinds != {"console"}:
        for one in of_gateway(directory):
            note(f"hitl: {one}")
    for one in of_members(directory, name):
        note(f"hitl: {one}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List people and groups with their contacts, in the order in which they are tried."""
    from hitl_cli.notify.sample_message import everybody
    from hitl_cli.views.contacts import contact_document

    directory = Settings().directory()
    found = [contact_document(name, contact) for name, contact in everybody(directory)]
    _note_shortcomings(None, directory, {"console"})
    reached = [", ".join(f"{address.by} {address.where}" for address in one.addresses) for one in found]
    print_list(
        found,
        [
            Column("name", [one.name for one in found], whole=True),
            Column("contact", [text or "-" for text in reached]),
            Column("members", [", ".join(one.members) or "-" for one in found]),
        ],
        'No contacts yet. Add people to hitl.toml, such as:\n[people.reviewer]\nemail = "a@example.org"',
        as_json=as_json,
    )
