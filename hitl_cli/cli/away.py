"""`hitl away`: who stands in while somebody is away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.completion import complete_person
from hitl_cli.cli.context import AsPerson, inbox_of, seen_by
from hitl_cli.cli.options import AsJson, UnknownNames, flag, value
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import Column, filled, print_list
from hitl_cli.cli.unknown_names import if_meant
from hitl_cli.errors import BadUsage
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local, local_minute, moment
from hitl_cli.views.away import away_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.people.away import Away


def away(
    ctx: AsPerson,
    until: Annotated[
        str | None,
        value("WHEN", "End: a day (until its end), a time or a duration, e.g. 2026-12-24 or 14d.", "--until"),
    ] = None,
    since: Annotated[str | None, value("WHEN", "Start. Default: now.", "--from")] = None,
    to: Annotated[
        str | None,
        value(
            "NAME",
            "Deputy, who is notified of your requests and can answer them.",
            "--to",
            complete=complete_person,
        ),
    ] = None,
    end: Annotated[bool, flag("End the absence: you are back.", "--end")] = False,
    person: Annotated[
        str | None,
        value("NAME", "Do it for this person. Only operators can.", "--for", complete=complete_person),
    ] = None,
    yes: UnknownNames = False,
    as_json: AsJson = False,
) -> None:
    """Say that you are away, and name a deputy who can answer for you. Without options, list who is away."""
    if until is None and (since is not None or to is not None):
        raise BadUsage("no end given: pass --until, for example --until 14d.")
    if end and until is not None:
        raise BadUsage("--end and --until cannot be combined: pass one of them.")
    with ctx.opened(inbox_of) as (inbox, client):
        now = client.now()
        if end:
            ended, name = inbox.come_back(person), person or inbox.actor.person
            if as_json:
                print_json({"person": name, "ended": ended})
            else:
                print(printable(f"{name} is back" if ended else f"{name} was not away"))
        elif until is not None:
            made = if_meant(
                partial(
                    inbox.go_away,
                    until=moment(until, now, code="bad-away"),
                    since=None if since is None else moment(since, now, code="bad-away", end_of_day=False),
                    to=to,
                    person=person,
                ),
                yes=yes,
            )
            if as_json:
                print_json(away_document(made))
            else:
                print(printable(_sentence(made, later=since is not None)))
        else:
            _show(inbox.aways(), f"Nobody{seen_by(inbox.actor)} is away.", as_json=as_json)


def _sentence(made: Away, *, later: bool) -> str:
    begin = f" from {local(made.since)}" if later else ""
    deputy = f", deputy: {made.to}" if made.to else ", without a deputy"
    return f"{made.person} is away{begin} until {local(made.until)}{deputy}"


def _show(found: Sequence[Away], nobody: str, *, as_json: bool) -> None:
    """Print who is away, or will be; otherwise the note `nobody`."""
    columns = [
        Column("person", [one.person for one in found]),
        Column("from", [local_minute(one.since) for one in found], whole=True),
        Column("until", [local_minute(one.until) for one in found], whole=True),
        Column("deputy", [one.to or "" for one in found]),
    ]
    documents = [away_document(one) for one in found]
    print_list(documents, filled(columns), nobody, as_json=as_json)
