"""`hitl assign`, `claim`, `release` and `extend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.completion import complete_assignee
from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.options import AsJson, Id, argument, flag, value
from hitl_cli.cli.output import note_unknown, print_json
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local

if TYPE_CHECKING:
    from hitl_cli.inbox.amend import Amended


def assign(
    ctx: AsPerson,
    id: Id,
    names: Annotated[
        list[str], argument("NAME...", "People, or groups as group:NAME.", complete=complete_assignee)
    ],
    add: Annotated[bool, flag("Keep the present assignees as well.", "--add")] = False,
    as_json: AsJson = False,
) -> None:
    """Assign a request to others. Its author says who may, with `reassign`."""
    settings = ctx.settings
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.assign(id, names, settings.contacts(), settings.group().value, add=add)
        note_unknown(names, inbox.actor.groups)
    to = ", ".join(done.item.to)
    _tell(done, f"assigned to {to}", f"was assigned to {to} before", as_json=as_json)


def claim(
    ctx: AsPerson,
    id: Id,
    duration: Annotated[str, value("DURATION", "How long you need.", "--for")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Tell the others that you work on a request. They can still decide it, with --anyway."""
    life_ms = parse_duration(duration)
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.claim(id, life_ms)
    until = done.item.claim and done.item.claim.until
    _tell(done, f"claimed until {local(until or done.item.now)}", "", as_json=as_json)


def release(ctx: AsPerson, id: Id, as_json: AsJson = False) -> None:
    """End your claim on a request."""
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.release(id)
    _tell(done, "released", "nobody has claimed it", as_json=as_json)


def extend(
    ctx: AsPerson,
    id: Id,
    duration: Annotated[str, argument("DURATION", "By how much, e.g. 2d.")],
    as_json: AsJson = False,
) -> None:
    """Move the deadline of a request, as far as its author allows with `extend`."""
    by_ms = parse_duration(duration)
    with ctx.opened(inbox_of) as (inbox, _):
        done = inbox.extend(id, by_ms)
    _tell(done, f"deadline moved to {local(done.item.deadline)}", "", as_json=as_json)


def _tell(done: Amended, changed: str, same: str, *, as_json: bool) -> None:
    """Print what has changed about a request, or that it was so before."""
    if as_json:
        from hitl_cli.views.amended import amended_document

        print_json(amended_document(done))
    else:
        print(printable(f"{done.item.id}: {same if done.amendment is None else changed}"))
