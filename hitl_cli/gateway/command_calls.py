"""`/api/v1/commands/NAME`: the calls of commands for a person who has signed in with `hitl login`.

Each is one method of `Inbox` or `Runs`, with the person's permissions (hitl_cli/remote/calls.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from hitl_cli.client.gateway_api import Problem
from hitl_cli.errors import Conflict, HitlError, NotFound
from hitl_cli.gateway.api.route import read_json
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer, status_of
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import PERMISSIONS
from hitl_cli.people.contacts import without_contact
from hitl_cli.people.groups import as_asked
from hitl_cli.proof.signing import signed_before, usable_keys
from hitl_cli.proof.statement import check_unchanged
from hitl_cli.remote import calls
from hitl_cli.remote.calls import CALLS, Begun, Me, OwnGroups, Page
from hitl_cli.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web import Request

    from hitl_cli.client.protocol import Client, Listener
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.amend import Amended
    from hitl_cli.inbox.ask import StandaloneRequest
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.inbox.history import HistoryEntry
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.contacts import Directory

PATH = "/api/v1/commands/{name}"


class _Desk:
    """The methods of a call, for one person."""

    def __init__(self, client: Client, actor: Actor, people: Directory) -> None:
        self.client = client
        self.actor = actor
        self.people = people
        self.inbox = Inbox(client, actor)
        self.runs = Runs(client, actor)

    def me(self, _: calls.Nothing) -> Me:
        return Me(person=self.actor.person, may=self.actor.may, groups=_own(self.actor))

    def requests(self, args: calls.WantedRequests) -> Page[RequestSummary]:
        items, following = self.inbox.page(args.wanted, sort=args.sort, limit=args.size, after=args.after)
        return Page(items=list(map(_bare, items)), next=following)

    def find(self, args: calls.Named) -> RequestSummary:
        return _bare(self.inbox.find(args.name, whole=args.whole))

    def show(self, args: calls.Named) -> RequestDetails:
        seen = self.inbox.show(args.name, whole=args.whole)
        silent = without_contact(seen.item.to, self.people)
        if seen.limited:  # without other people's contacts or members of groups
            silent = tuple(who for who in silent if who in seen.item.to)
            seen = replace(seen, lineage=(), before=())
        return replace(seen, item=_bare(seen.item), silent=silent)

    def decide(self, args: calls.Decided) -> DecisionResult:
        if args.proof is not None:
            self.inbox.signer = signed_before(args.proof, self.actor.groups)

        def expect(item: RequestSummary) -> None:
            if args.asked is not None:
                check_unchanged(item.promise, item.run, args.asked)

        return self.inbox.decide(args.name, args.said, whole=args.whole, expect=expect)

    def comment(self, args: calls.Commented) -> Promise:
        return self.inbox.comment(args.name, args.text, whole=args.whole)

    def assign(self, args: calls.Assigned) -> Amended:
        done = self.inbox.assign(
            args.name, args.to, self.people, args.group, add=args.add, anyway=args.anyway, whole=args.whole
        )
        return _plainly(done)

    def claim(self, args: calls.ForTime) -> Amended:
        return _plainly(self.inbox.claim(args.name, args.ms, whole=args.whole))

    def extend(self, args: calls.Extended) -> Amended:
        return _plainly(self.inbox.extend(args.name, args.ms, until=args.until, whole=args.whole))

    def release(self, args: calls.Released) -> Amended:
        return _plainly(self.inbox.release(args.name, anyway=args.anyway, whole=args.whole))

    def aways(self, _: calls.Nothing) -> Any:
        return self.inbox.aways()

    def go_away(self, args: calls.GoneAway) -> Any:
        return self.inbox.go_away(
            until=args.until, since=args.since, to=args.to, person=args.person, anyway=args.anyway
        )

    def come_back(self, args: calls.Someone) -> bool:
        return self.inbox.come_back(args.person)

    def ask_back(self, args: calls.Commented) -> Any:
        return self.inbox.ask_back(args.name, args.text, whole=args.whole)

    def answer_back(self, args: calls.Commented) -> Any:
        return self.inbox.answer_back(args.name, args.text, whole=args.whole)

    def ask(self, args: calls.Put) -> StandaloneRequest:
        asked, groups = args.asked, self.actor.groups
        return self.inbox.ask(
            asked.question(lambda names: as_asked(names, groups)),
            id=asked.id or "",
            key=asked.key,
            tags=asked.tags,
            deadline_ms=asked.deadline_ms,
            callbacks=self.people.callbacks,
        )

    def notify(self, args: calls.Existing) -> bool:
        return self.inbox.notify(self.inbox.asked(args.id), self.people, args.group)

    def asked(self, args: calls.Existing) -> StandaloneRequest:
        return self.inbox.asked(args.id, args.digest)

    def worker_notifies(self, args: calls.Existing) -> bool:
        return self.inbox.worker_notifies(self.inbox.asked(args.id), args.group)

    def withdraw(self, args: calls.Existing) -> Promise:
        return self.inbox.withdraw(self.inbox.asked(args.id))

    def consume(self, args: calls.Consumed) -> Any:
        return self.inbox.consume(args.name, args.key)

    def silent(self, args: calls.Names) -> tuple[str, ...]:
        self.actor.require("read", "ask")
        return tuple(who for who in without_contact(args.names, self.people) if who in args.names)

    def history(self, args: calls.WantedHistory) -> Page[HistoryEntry]:
        items, following = self.inbox.history_page(args.wanted, limit=args.size, after=args.after)
        return Page(items=items, next=following)

    def story(self, args: calls.WantedHistory) -> list[HistoryEntry]:
        return self.inbox.story(args.name, args.wanted)

    def stats(self, args: calls.Ago) -> Any:
        return self.inbox.stats(args.ago_ms, args.most)

    def start(self, args: calls.StartRuns) -> list[Begun]:
        started = self.runs.start_many(args.specs, group=args.group, deadline_ms=args.deadline_ms)
        return [
            Begun(conflict=str(one), code=one.code, hint=one.hint)
            if isinstance(one, Conflict)
            else Begun(started=one)
            for one in started
        ]

    def listed(self, args: calls.WantedRuns) -> Any:
        items, following = self.runs.page(state=args.state, limit=args.size, after=args.after)
        return Page(items=list(items), next=following)

    def run(self, args: calls.Named) -> Any:
        return self.runs.show(args.name)

    def steps(self, args: calls.Steps) -> Any:
        self.actor.require("read")
        return self.runs.steps(args.name, args.most)

    def workflows(self, _: calls.Nothing) -> Any:
        return self.runs.workflows()

    def cancel(self, args: calls.Cancel) -> Any:
        return self.runs.cancel(args.name, args.reason)

    def workers(self, _: calls.Nothing) -> list[Listener] | None:
        self.actor.require("read", "start", "ask")
        return self.client.listeners()


_METHODS: dict[str, Callable[[_Desk, Any], Any]] = {
    name: getattr(_Desk, {"runs": "listed"}.get(name, name.replace("-", "_"))) for name in CALLS
}


async def _call(request: Request) -> web.Response:
    """Answer one call."""
    gateway = gateway_of(request)
    visitor = gateway.access.visitor(request, *PERMISSIONS)
    if request.content_type != "application/json":
        raise HttpError(415, "send JSON with Content-Type: application/json.")
    name = request.match_info["name"]
    if name not in CALLS:
        raise NotFound(
            f"this gateway has another version of hitl, without the call {name!r}: install its version."
        )
    raw = read_json(await request.read(), calls.CallRequest)
    args = read_json(bytes(raw.args), CALLS[name])
    actor = replace(visitor.actor, via=raw.via)
    people = gateway.options.people

    def work(client: Client) -> calls.CallResponse[Any]:
        result = _METHODS[name](_Desk(client, actor, people), args)
        return calls.CallResponse(now=client.now(), result=result)

    pool = gateway.lookback if name in ("history", "story", "stats") else gateway.bridge
    try:
        return json_answer(await pool.run(work))
    except HitlError as error:
        problem = Problem(
            detail=str(error),
            code=error.code,
            lines=error.lines,
            exit_code=error.exit_code,
            at=error.at,
            hint=error.hint,
        )
        return web.Response(
            body=msgspec.json.encode(problem),
            status=status_of(error),
            content_type="application/problem+json",
        )


def _bare(item: RequestSummary) -> RequestSummary:
    """Return a request without the objects that this gateway attaches to it."""
    return replace(item, memo=None)


def _plainly(done: Amended) -> Amended:
    """Return a request after a change, without the objects that this gateway attaches to it."""
    return replace(done, item=_bare(done.item))


def _own(actor: Actor) -> OwnGroups:
    """Return the part of the settings for a person's machine: that person, and the names of groups."""
    groups = actor.groups
    key = groups.key(actor.person)
    return OwnGroups(
        spelled={name: person for name, person in groups.spelled.items() if person == actor.person},
        groups=groups.groups,
        members={name: members & {key} for name, members in groups.members.items()},
        ssh={key: usable_keys(actor.person, groups)},
    )


ROUTES = [web.post(PATH, _call)]
