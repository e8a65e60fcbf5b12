"""Changes of open requests ("amendments"): checks that an actor may make one, and stores it.

Each is a record under the request with the next number, created only if that number is free. So of two at the
same moment, the second is checked again after the first, and all processes see the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.protocol import ProtocolRequest, get_promise, send, send_all
from hitl_cli.client.records import closing
from hitl_cli.client.tags import TARGET_TAG
from hitl_cli.client.wire import Audit, fresh_id
from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.durations import UNITS_MS, format_duration
from hitl_cli.format.times import iso
from hitl_cli.inbox.amendments import amended, check_unclaimed
from hitl_cli.inbox.decision_result import already
from hitl_cli.inbox.pending import spelled_by
from hitl_cli.inbox.permission import check_may_answer, is_excluded, may_answer
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.votes import votes_of
from hitl_cli.people.actor import check_person
from hitl_cli.people.away import with_deputies
from hitl_cli.people.contacts import recipients
from hitl_cli.people.deputies import reached_deputies
from hitl_cli.people.groups import as_asked, bare_name, check_meant, everyone_in
from hitl_cli.people.quorum import approvals, voice_of
from hitl_cli.requests.amendments import (
    Amendment,
    AmendmentInput,
    amendments_of_many,
    assignees_of,
    closing_of,
    create_request,
)
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.private import without_private
from hitl_cli.runs.run import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.groups import Groups

MOST_NAMES = 1_000
"""Most assignees of a request, the same as for a new one."""

CLAIM_MS = UNITS_MS["h"]
"""The default validity of a claim."""

LONGEST_CLAIM_MS = 7 * UNITS_MS["d"]


class Amended(Struct, frozen=True, kw_only=True):
    """A request after a change, and the amendment; None if nothing had to change."""

    item: RequestSummary
    amendment: Amendment | None = None


# Assigning


def assign(
    client: Client, actor: Actor, item: RequestSummary, names: Sequence[str], *, add: bool, anyway: bool
) -> Amended:
    """Assign a request to people and groups, in place of its assignees or beside them. See Inbox.assign."""
    groups = actor.groups
    for name in names:
        check_person(bare_name(name))
    wanted = tuple(dict.fromkeys(as_asked(names, groups)))
    if not 0 < len(wanted) <= MOST_NAMES:
        raise BadInput(f"give 1 to {MOST_NAMES:,} names of people or groups.", code="bad-name")
    check_meant(wanted, groups, anyway=anyway)

    def say(now: RequestSummary) -> AmendmentInput | None:
        check_may_assign(now, actor.person, groups)
        if add and not now.to:
            raise BadInput(
                f"anyone may answer {now.id} already, so there is nobody to add. Without --add, only the"
                " people that you name may answer it. Nothing was changed.",
                code="bad-question",
            )
        to = tuple(dict.fromkeys([*(now.to if add else ()), *wanted]))
        if len(to) > MOST_NAMES:
            raise BadInput(
                f"a request has at most {MOST_NAMES:,} assignees. Nothing was changed.", code="bad-name"
            )
        _check_enough(client, now, to, groups)
        same = set(map(groups.key, to)) == set(map(groups.key, now.to))
        return None if same else AmendmentInput(kind="assign", to=to)

    return _record(client, actor, item, say)


def may_assign(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a person may assign a request to others now, as its author has allowed."""
    match item.asked.reassign:
        case "anyone":
            return True
        case "assignees":
            return groups.same(person, item.asker) or may_answer(item, person, groups)
        case "nobody" | None:
            return False


def check_may_assign(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise NotAllowed, with the reason, unless a person may assign a request to others now."""
    if may_assign(item, person, groups):
        return
    if not item.asked.can_be_assigned:
        raise NotAllowed(
            f'the assignees of {item.id} cannot be changed: it was asked without reassign="assignees" or'
            ' "anyone". Nothing was changed.',
            code="not-reassignable",
        )
    raise NotAllowed(
        f"only the assignees of {item.id} and the person who asked it can assign it to others; {person}"
        " cannot. Nothing was changed.",
        code="not-assignee",
    )


def _check_enough(client: Client, item: RequestSummary, to: Sequence[str], groups: Groups) -> None:
    """Raise BadInput, NotAllowed if too few of the assignees may approve a request. Earlier votes stay."""
    people = everyone_in(to, groups)
    if people is None:
        return
    able = {person for person in people if not is_excluded(item.asked, item.starter, person, groups)}
    if not able:
        raise NotAllowed(
            f"{item.starter} started {item.id}, so someone else must answer it: name others as well."
            " Nothing was changed.",
            code="self-approval",
        )
    asked = item.asked
    voted = votes_of(client, item.id) if asked.several else []
    able |= {groups.key(one.vote.by) for one in voted if one.vote.verdict == "approve"}
    most = approvals(asked, [voice_of(person, groups) for person in able], groups)
    if most < asked.approvals:
        raise BadInput(
            f"with these assignees, {item.id} could get only {most} of its {asked.approvals} approvals."
            " Nothing was changed.",
            code="bad-question",
        )


def notify_assigned(client: Client, done: Amended, directory: Directory, group: str) -> None:
    """Queue the notification of the new assignees after an `assign`, if workers notify about this request.

    The workers of its run deliver it, otherwise those of a group.
    """
    item, made = done.item, done.amendment
    if made is None:
        return
    earlier = [one for one in item.amendments if one.number < made.number]
    before = assignees_of(item.asked, item.created_at, earlier, made.at)
    new = tuple(name for name in made.to if name not in before)
    notice = Notification(request=item.id, occasion="assigned", names=new, number=made.number)
    asked = Notification(request=item.id, occasion="asked")
    if not new or not (
        recipients(new, directory)
        or reached_deputies(new, with_deputies(client, directory.members), directory)
        or get_promise(client, asked.id)
    ):
        return
    promise, run = item.promise, item.run
    target = run.tags[TARGET_TAG] if run is not None and run.is_run else address_of(group)
    send(client, notice.create(target, promise.timeout_at, promise.origin))


# Extending


def extend(
    client: Client, actor: Actor, item: RequestSummary, by_ms: int | None, until: int | None
) -> Amended:
    """Move the deadline of a request. See Inbox.extend."""
    if until is None:
        _check_positive(by_ms or 0)

    def say(now: RequestSummary) -> AmendmentInput:
        _check_may_extend(now, actor.person, actor.groups)
        to, most = now.deadline + (by_ms or 0) if until is None else until, now.promise.timeout_at
        if to <= now.deadline:
            raise BadInput(
                f"the deadline of {now.id} is {iso(now.deadline)}: it can only be moved to a later time."
                " Nothing was changed.",
                code="bad-duration",
                at=now.deadline,
            )
        if to > most:
            left = format_duration(max(most - now.deadline, 0))
            raise BadInput(
                f"the deadline of {now.id} can be moved by at most {left} more. Nothing was changed.",
                code="bad-duration",
            )
        return AmendmentInput(kind="extend", until=to)

    return _record(client, actor, item, say)


def may_extend(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a person may move the deadline of a request: they asked it, or may assign it."""
    own = groups.same(person, item.asker)
    return item.asked.extend is not None and (own or may_assign(item, person, groups))


def _check_may_extend(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise NotAllowed, with the reason, unless a person may move the deadline of a request."""
    if may_extend(item, person, groups):
        return
    if item.asked.extend is None:
        raise NotAllowed(
            f'the deadline of {item.id} cannot be moved: it was asked without extend, as in extend="7d".'
            " Nothing was changed.",
            code="not-extendable",
        )
    raise NotAllowed(
        f"only the person who asked {item.id} can move its deadline, or its assignees if they may also"
        f" assign it to others; {person} cannot. Nothing was changed.",
        code="not-assignee",
    )


# Claiming


def claim(client: Client, actor: Actor, item: RequestSummary, life_ms: int) -> Amended:
    """Record that a person works on a request, for a time. See Inbox.claim."""
    _check_positive(life_ms)
    if life_ms > LONGEST_CLAIM_MS:
        most = format_duration(LONGEST_CLAIM_MS)
        raise BadInput(f"a claim can last at most {most}. Nothing was changed.", code="bad-duration")

    def say(now: RequestSummary) -> AmendmentInput:
        check_may_answer(now, actor.person, actor.groups)
        check_unclaimed(now, actor.person, actor.groups)
        return AmendmentInput(kind="claim", until=min(client.now() + life_ms, now.deadline))

    return _record(client, actor, item, say)


def release(client: Client, actor: Actor, item: RequestSummary, *, anyway: bool) -> Amended:
    """End the claim on a request. See Inbox.release."""

    def say(now: RequestSummary) -> AmendmentInput | None:
        claim = now.claim
        if claim is None:
            return None
        if actor.groups.same(claim.by, actor.person):
            return AmendmentInput(kind="release")
        if not may_release(now, actor.person, actor.groups):
            check_may_answer(now, actor.person, actor.groups)
        if not anyway:
            check_unclaimed(now, actor.person, actor.groups, "release")
        return AmendmentInput(kind="release", of=claim.by)

    return _record(client, actor, item, say)


def may_release(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a person may end a claim: it is theirs, or they asked, may answer or may assign the request."""
    if item.claim is None:
        return False
    own = groups.same(item.claim.by, person) or groups.same(item.asker, person)
    return own or may_answer(item, person, groups) or may_assign(item, person, groups)


def _check_positive(ms: int) -> None:
    """Raise BadInput for a duration that is not positive: a deadline cannot be made earlier."""
    if ms <= 0:
        raise BadInput("the duration must be longer than 0. Nothing was changed.", code="bad-duration")


# Storing


def _record(
    client: Client,
    actor: Actor,
    item: RequestSummary,
    say: Callable[[RequestSummary], AmendmentInput | None],
) -> Amended:
    """Store the amendment that `say` returns for the current request, under the next number.

    If another process takes that number first, `say` is called again with the request as changed by it.
    Raises Conflict, TimedOut if the request is decided.
    """
    number = 0
    item = amended(item, amendments_of_many(client, [item.id])[item.id])
    while True:
        if not item.waits:
            seen = without_private(item.promise, item.asked) if item.hidden else item.promise
            raise already(seen, item.now)
        said = say(item)
        if said is None:
            return Amended(item=item)
        number = 1 + max([number, *(one.number for one in item.amendments)])
        audit = Audit(id=fresh_id(), by=actor.person, via=actor.via, at=client.now())
        create = create_request(item.promise, said, audit, number)
        look = ProtocolRequest("promise.get", {"id": item.id})
        held = item.claim
        ends = [] if said.kind == "claim" else [closing(create)]  # a claim stays pending while it holds
        *_, promise = send_all(client, [create, *ends, look])
        item = replace(item, promise=promise, now=client.now())
        known = amendments_of_many(client, [item.id])[item.id]
        item = spelled_by(actor.groups, amended(item, known))
        own = next((one for one in item.amendments if one.id == audit.id), None)
        if own is not None:
            if held is not None and item.claim != held:
                send(client, closing_of(item.id, held.number))
            return Amended(item=item, amendment=own)
