"""`hitl assign`, `claim`, `release` and `extend`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.completion import complete_assignee
from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.options import AsJson, Id, UnknownNames, argument, flag, value
from hitl_cli.cli.output import print_json
from hitl_cli.cli.unknown_names import if_meant
from hitl_cli.errors import BadUsage
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local, moment

if TYPE_CHECKING:
    from hitl_cli.inbox.amend import Amended


def assign(
    ctx: AsPerson,
    id: Id,
    names: Annotated[
        list[str], argument("NAME...", "People, or groups as group:NAME.", complete=complete_assignee)
    ],
    add: Annotated[bool, flag("Keep the current assignees too.", "--add")] = False,
    yes: UnknownNames = False,
    as_json: AsJson = False,
) -> None:
    """Assign a request to others, if it allows that (`reassign`)."""
    contacts, group = ctx.settings.contacts(), ctx.settings.group().value
    with ctx.opened(inbox_of) as (inbox, _):
        done = if_meant(partial(inbox.assign, id, names, contacts, group, add=add), yes=yes)
    to = ", ".join(done.item.to)
    _tell(done, f"assigned to {to}", f"already assigned to {to}", as_json=as_json)


def claim(
    ctx: AsPerson,
    id: Id,
    duration: Annotated[str, value("DURATION", "How long the claim lasts.", "--for")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Tell the other assignees that you are working on a request. They can still decide it, with --anyway."""
    life_ms = parse_duration(duration)
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.claim(id, life_ms)
    until = done.item.claim and done.item.claim.until
    _tell(done, f"claimed until {local(until or done.item.now)}", "", as_json=as_json)


def release(
    ctx: AsPerson,
    id: Id,
    anyway: Annotated[bool, flag("End the claim even if it is somebody else's.", "--anyway")] = False,
    as_json: AsJson = False,
) -> None:
    """End your claim on a request, or somebody else's with --anyway."""
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.release(id, anyway=anyway)
    _tell(done, "released", "nobody has claimed it", as_json=as_json)


def extend(
    ctx: AsPerson,
    id: Id,
    duration: Annotated[str | None, argument("[DURATION]", "Time to add, e.g. 2d.")] = None,
    until: Annotated[
        str | None,
        value("WHEN", "New deadline: a day (until its end) or a time, e.g. 2026-12-24T12:00.", "--until"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move the deadline of a request, as far as it allows that (`extend`)."""
    if duration is None and until is None:
        raise BadUsage("no new deadline given: pass a DURATION such as 2d, or --until.")
    if duration is not None and until is not None:
        raise BadUsage("DURATION and --until cannot be combined: pass one of them.")
    by_ms = None if duration is None else parse_duration(duration)
    with ctx.opened(inbox_of) as (inbox, client):
        to = None if until is None else moment(until, client.now(), code="bad-duration")
        done = inbox.extend(id, by_ms, until=to)
    _tell(done, f"deadline moved to {local(done.item.deadline)}", "", as_json=as_json)


def _tell(done: Amended, changed: str, same: str, *, as_json: bool) -> None:
    """Print what has changed about a request, or that it was so before."""
    if as_json:
        from hitl_cli.views.amended import amended_document

        print_json(amended_document(done))
    else:
        print(printable(f"{done.item.id}: {same if done.amendment is None else changed}"))
