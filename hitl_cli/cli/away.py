"""`hitl away`: who stands in while somebody is away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.completion import complete_person
from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.options import AsJson, flag, value
from hitl_cli.cli.output import note_unknown, print_json
from hitl_cli.cli.render.table import Column, filled, print_list
from hitl_cli.errors import BadInput, BadUsage
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local, local_minute
from hitl_cli.views.away import away_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.people.away import Away

DAY = len("2026-12-24")


def away(
    ctx: AsPerson,
    until: Annotated[
        str | None,
        value("WHEN", "Until when: a day, whose end is meant, an instant or a duration.", "--until"),
    ] = None,
    since: Annotated[str | None, value("WHEN", "From when. Default: now.", "--from")] = None,
    to: Annotated[
        str | None, value("NAME", "Your deputy, who is asked as well.", "--to", complete=complete_person)
    ] = None,
    end: Annotated[bool, flag("You are back.", "--end")] = False,
    person: Annotated[
        str | None, value("NAME", "For this person, as an operator.", "--for", complete=complete_person)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say that you are away, and who stands in for you. Without options, show who is away."""
    if until is None and (since is not None or to is not None):
        raise BadUsage("--until is missing: it says until when you are away.")
    if end and until is not None:
        raise BadUsage("--end and --until cannot be combined.")
    with ctx.opened(inbox_of) as (inbox, client):
        now = client.now()
        if end:
            ended, name = inbox.come_back(person), person or inbox.actor.person
            if as_json:
                print_json({"person": name, "ended": ended})
            else:
                print(printable(f"{name} is back" if ended else f"{name} was not away"))
        elif until is not None:
            made = inbox.go_away(
                until=_instant(until, now, end_of_day=True),
                since=None if since is None else _instant(since, now, end_of_day=False),
                to=to,
                person=person,
            )
            if as_json:
                print_json(away_document(made))
            else:
                print(printable(_sentence(made, later=since is not None)))
            if to is not None:
                note_unknown([to], inbox.actor.groups)
        else:
            _show(inbox.aways(), as_json=as_json)


def _sentence(made: Away, *, later: bool) -> str:
    begin = f" from {local(made.since)}" if later else ""
    deputy = f", {made.to} stands in" if made.to else ", without a deputy"
    return f"{made.person} is away{begin} until {local(made.until)}{deputy}"


def _show(found: Sequence[Away], *, as_json: bool) -> None:
    """Print who is away, or will be."""
    columns = [
        Column("person", [one.person for one in found]),
        Column("from", [local_minute(one.since) for one in found], whole=True),
        Column("until", [local_minute(one.until) for one in found], whole=True),
        Column("deputy", [one.to or "" for one in found]),
    ]
    documents = [away_document(one) for one in found]
    print_list(documents, filled(columns), "Nobody is away.", as_json=as_json)


def _instant(text: str, now: int, *, end_of_day: bool) -> int:
    """Return an instant in ms since the epoch: of a day its end or its beginning. Raises BadInput."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now + parse_duration(text)
        except BadInput as error:
            raise BadInput(
                f"{text!r} is not a day such as 2026-12-24, an instant or a duration.", code="bad-away"
            ) from error
    if len(text) == DAY and end_of_day:
        at += timedelta(days=1)
    return round(at.astimezone().timestamp() * 1_000)
