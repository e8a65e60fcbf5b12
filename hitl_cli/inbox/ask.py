"""Requests without a workflow: ask, wait, withdraw (docs/guides/scripts.md).

Such a request is one promise, the root of its own lineage, without a target, so no worker is involved.
"""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import ProtocolRequest, get_promise, get_promises, send, send_all
from hitl_cli.client.tags import DEADLINE_TAG, lineage
from hitl_cli.client.waiting import wait_until
from hitl_cli.client.wire import (
    EXTERNAL,
    Audit,
    Promise,
    child_id,
    decode,
    encode,
    error_value,
    fresh_id,
    headers_of,
)
from hitl_cli.errors import BadInput, BadName, Conflict, NotAllowed, NotFound, RunFailed
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.urls import host_of
from hitl_cli.format.validation import about
from hitl_cli.inbox.deadlines import settle_overdue
from hitl_cli.inbox.pending import demanded, summary_of
from hitl_cli.inbox.proof import check_proven, needs_check, unproven
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.resolve import no_request
from hitl_cli.inbox.rule_decisions import decide_by_rule
from hitl_cli.inbox.rule_offers import check_offer
from hitl_cli.inbox.thread import ThreadEntry, entry_id, entry_in, open_question, thread_of
from hitl_cli.inbox.votes import check_people, complete, count, votes_of
from hitl_cli.people.actor import LONGEST_NAME
from hitl_cli.people.away import with_deputies
from hitl_cli.people.contacts import recipients
from hitl_cli.people.deputies import absences_among, reached_deputies
from hitl_cli.people.groups import Absence, in_one_form
from hitl_cli.people.sight import Sight
from hitl_cli.requests.amendments import Amendment, if_assigned
from hitl_cli.requests.decision import Decision, decision_on
from hitl_cli.requests.demand import Demand, as_allowed, at_least, names_of, raised, strengthened
from hitl_cli.requests.differences import differences
from hitl_cli.requests.notification import Notification, callback_ends_at, callback_of
from hitl_cli.requests.private import CALLBACK
from hitl_cli.requests.question import (
    GROUP,
    OWN_PREFIX,
    PLAIN,
    Digest,
    Escalation,
    Question,
    asker_of,
    found_by,
    not_askable,
    question_of,
    sensible,
    sensible_alone,
)
from hitl_cli.rules.matching import TOOL
from hitl_cli.runs.run import address_of, cancel_request, check_id, show_call
from hitl_cli.tracing import caller_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.groups import Groups

LONGEST_ID = 1_000
"""Most characters of a request's id, its key and its tags. The ids of its records are longer."""

MOST_NAMES = 1_000
"""Most assignees, choices or tags of a request."""

ZERO = "\0"
"""The character that PostgreSQL cannot store in a tag."""

CALLBACK_DIGITS = 8
"""Hex digits by which the URLs of two callbacks on one host differ."""

_ID_DIGITS = 16
"""Hex digits of a generated id: enough that it is unique and cannot be guessed."""

TAKING_S = 2.0
"""How long a worker may take to start a notification; a few milliseconds unless it is busy."""


class StandaloneRequest(Struct, frozen=True, kw_only=True):
    """A request without a workflow. `fresh` says whether this call created it.

    `asked_back` is the open question to its asker, if the request existed before; `away` are the assignees
    who are away.
    """

    promise: Promise
    question: Question
    fresh: bool
    asked_back: ThreadEntry | None = None
    away: tuple[Absence, ...] = ()

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.promise.id


def new_id(seed: str | None = None) -> str:
    """Return an id for a request: a random one, or always the same for a seed of hex digits."""
    return f"{OWN_PREFIX}{(seed or fresh_id())[:_ID_DIGITS]}"


def own_id(actor: Actor, id: str) -> str:
    """Return the id, or the key, of a new request: with a prefix if the actor may not start runs.

    Otherwise the actor could take the id of a run before it starts, and the answer would become the run's
    result. Or a person who types the name of a run, or the key of another request, would decide this one
    unseen.
    """
    return id if "start" in actor.may or id.startswith(OWN_PREFIX) else f"{OWN_PREFIX}{id}"


def ask(
    client: Client,
    actor: Actor,
    id: str,
    question: Question,
    *,
    key: str | None,
    tags: Mapping[str, str],
    deadline_ms: int,
) -> StandaloneRequest:
    """Create a request, or find the existing one with the same id. See Inbox.ask."""
    id = own_id(actor, _checked_id(id))
    key = own_id(actor, key) if key and key.strip() else key
    own = sensible_alone(question)
    question = _to_ask(client, actor, id, own, names_of(tags.get(TOOL), key, id))
    if question.deadline_approves and actor.may.isdisjoint(("decide", "start")):
        raise NotAllowed(
            "this token can ask but not decide, so a deadline must not approve its requests: leave out"
            " on_deadline.",
            code="permission-missing",
        )
    with about("offer"):
        check_offer(question, tags.get(TOOL))
    _check_names(question, key, tags)
    found = found_by(question, key, None, tags)
    mark, deadline = fresh_id(), client.now() + deadline_ms
    found |= {DEADLINE_TAG: str(deadline)} if question.extend is not None else {}
    data = {
        "id": id,
        "timeoutAt": deadline + (question.extend or 0),
        "param": encode(
            msgspec.to_builtins(question), {"hitl:start": mark, "hitl:by": actor.person, **caller_headers()}
        ),
        "tags": {**found, **EXTERNAL, **lineage(id, scope="global")},
    }
    promise = send(client, ProtocolRequest("promise.create", data))
    sight = Sight(actor)
    if not sight.among(client, [promise]):
        raise Conflict(f"the id {id} is taken. Nothing was changed: use another.", code="already-exists")
    asked = _asked_by(promise)
    run = None if promise.origin == promise.id else get_promise(client, promise.origin)
    known = sight.asked(promise, run)
    private = known is not None and {*known.private} - {CALLBACK}
    if private and sight.shown(client, [promise])[0] is not promise:
        raise Conflict(
            f"request {id} already exists, and somebody else asked it. Nothing was changed: use another id.",
            code="question-differs",
        )
    if not same_question(asked, own, actor.groups):
        raise _otherwise(promise.id, asked, own, actor.groups)
    return StandaloneRequest(
        promise=decide_by_rule(client, actor.groups, promise, asked),
        question=asked,
        fresh=headers_of(promise.param).get("hitl:start") == mark,
        away=absences_among(asked, asked.asked_at(0), actor.groups),
    )


def _to_ask(client: Client, actor: Actor, id: str, own: Question, names: Sequence[str]) -> Question:
    """Return the question to ask, with what the settings add to it. Raises BadInput if nobody can answer it.

    A request that exists already stays as it was asked.
    """
    question, groups = own, actor.groups
    try:
        if groups.policy or groups.allowances:
            question = sensible_alone(raised(own, groups.policy, names))
            question = as_allowed(question, groups.allowances, names)
        check_people(question, actor.person, groups)
    except BadInput:
        if get_promise(client, id) is None:
            raise
    return question


def _checked_id(id: str) -> str:
    """Return the id if a request can have it. Raises BadName."""
    with about("id"):
        if len(id) > LONGEST_ID:
            raise BadName(f"the id has {len(id):,} characters: at most {LONGEST_ID} are allowed.")
        if id in (".", ".."):
            raise BadName(f"{id!r} is not a valid id: it cannot be part of a URL.")
        return check_id(id)


def _check_names(question: Question, key: str | None, tags: Mapping[str, str]) -> None:
    """Raise BadInput for names that not every server can index."""
    counts = {"to": len(question.everyone), "choices": len(question.choices), "tags": len(tags)}
    for where, entries in counts.items():
        if entries > MOST_NAMES:
            raise not_askable(f"{where} has {entries:,} entries, of at most {MOST_NAMES}.", where)
    named = [("to", name, LONGEST_NAME + len(GROUP)) for name in question.everyone]
    named += [("key", name, LONGEST_ID) for name in (key,) if name]
    named += [("tags", text, LONGEST_ID) for pair in tags.items() for text in pair]
    for field, text, most in named:
        if len(text) > most:
            raise not_askable(f"{field} has a text of {len(text):,} characters, of at most {most}.", field)
        if ZERO in text:
            raise not_askable(f"{field} has the character U+0000.", field)
    if "" in tags:
        raise not_askable("a tag has an empty name.", "tags")


def again(client: Client, actor: Actor, id: str, digest: Digest | None) -> StandaloneRequest:
    """Return an existing request that the actor may see.

    Raises BadInput (invalid id), NotFound, Conflict (it is about a file with other content).
    """
    promise = get_promise(client, check_id(id))
    if promise is None or not Sight(actor).among(client, [promise]):
        raise NotFound(f"no request has the id {id!r}.")
    question = _asked_by(promise)
    if digest is not None and not _same_content(question.digest, digest):
        raise _other_content(id, question.digest, digest)
    asked_back = open_question(thread_of(client, promise.id)) if promise.state == "pending" else None
    return StandaloneRequest(promise=promise, question=question, fresh=False, asked_back=asked_back)


def digest_of(path: str) -> Digest:
    """Return the digest of a file's current content. Raises BadInput."""
    file = Path(path)
    try:
        if path == "-" or not stat.S_ISREG(file.stat().st_mode):
            raise BadInput(
                f"{path} is not a regular file, so its content cannot be checked later.", code="bad-file"
            )
        import hashlib

        with file.open("rb") as content:
            return Digest(sha256=hashlib.file_digest(content, "sha256").hexdigest(), file=file.name)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", code="bad-file"
        ) from error


def check_unchanged(id: str, path: str, digest: Digest) -> None:
    """Raise Conflict if a file's content is not the one in the request."""
    now = digest_of(path)
    if now.sha256 != digest.sha256:
        raise _other_content(id, digest, now)


def notify(client: Client, posted: StandaloneRequest, directory: Directory, group: str) -> bool:
    """Queue the notification and the callback of a request, for the workers of a group.

    Return whether any assignee has a contact.
    """
    promise, target = posted.promise, address_of(group)
    creates = []
    to = posted.question.asked_at(0)
    told = promise.state == "pending" and bool(
        recipients(to, directory) or reached_deputies(to, with_deputies(client, directory.members), directory)
    )
    if told:
        notice = Notification(request=posted.id, occasion="asked", names=to)
        creates.append(notice.create(target, promise.timeout_at, promise.origin))
    if posted.question.callback is not None:
        creates.append(callback_of(promise.id).create(target, callback_ends_at(promise), promise.origin))
    send_all(client, creates)
    return told


def worker_notifies(
    client: Client, posted: StandaloneRequest, group: str, left: Callable[[], bool] = lambda: False
) -> bool:
    """Whether a worker delivers the notification. See Inbox.worker_notifies."""
    notice = Notification(request=posted.id, occasion="asked")
    first_step = child_id(notice.id, "1")

    def taken() -> bool:
        found = get_promises(client, [notice.id, first_step])
        return first_step in found or (notice.id in found and found[notice.id].state != "pending")

    if taken():
        return True
    listens = client.has_worker(group)
    if listens is not None:
        return listens
    return bool(wait_until(client, lambda: taken() or None, timeout_s=TAKING_S, left=left))


# Comparing requests


def _asked_by(promise: Promise) -> Question:
    """Return the question of a promise. Raises Conflict if it is not a request without a workflow."""
    question = question_of(promise)
    if promise.is_blocking and question is not None and question is not PLAIN:
        return question
    call = promise.call
    other = f"the run {show_call(call)}" if promise.is_run and call else "a promise that is not a request"
    raise Conflict(
        f"the id {promise.id} is taken by {other}. Nothing was changed: use another id.",
        code="already-exists",
    )


def same_question(stored: Question, asked: Question, groups: Groups, *, allowed: bool = True) -> bool:
    """Whether a stored question is the one asked. For files, the content counts, not the name.

    They may differ in what a policy demanded, at another time or at the gateway, or what settings `allowed`.
    """
    same_file = _same_content(stored.digest, asked.digest)
    return same_file and not _differences(stored, asked, groups, allowed=allowed)


def _same_content(one: Digest | None, other: Digest | None) -> bool:
    """Whether two digests are of the same content."""
    return (one and one.sha256) == (other and other.sha256)


def _otherwise(id: str, before: Question, now: Question, groups: Groups) -> Conflict:
    """Return the error for a question that differs from the existing request's."""
    if not _same_content(before.digest, now.digest):
        return _other_content(id, before.digest, now.digest)
    return Conflict(
        f"request {id} already exists, and differs. Nothing was changed: repeat it unchanged, or use another"
        " id. Differences",
        _differences(before, now, groups),
        code="question-differs",
    )


def _other_content(id: str, before: Digest | None, now: Digest | None) -> Conflict:
    """Return the error for a file with other content."""
    return Conflict(
        f"{id} was asked about other content, and nothing was changed",
        [f"request    {_shown_digest(before)}", f"this file  {_shown_digest(now)}"],
        code="question-differs",
    )


def _shown_digest(digest: Digest | None) -> str:
    """Return a digest as sha256sum shows it."""
    return "no file" if digest is None else f"{digest.sha256}  {digest.file}"


def _differences(before: Question, now: Question, groups: Groups, *, allowed: bool = True) -> list[str]:
    """Return a line for each difference between two questions, without their digests."""
    now = at_least(now, before, allowed=allowed)
    return differences(_compared(before, groups), _compared(now, groups))


def _compared(question: Question, groups: Groups) -> dict[str, Json]:
    """Return a question in the form to compare, in which names do not depend on settings.

    An offered rule is not part of the question.
    """
    plain = tuple(in_one_form(name, groups) for name in question.to)
    late = tuple(
        Escalation(after=step.after, to=tuple(in_one_form(name, groups) for name in step.to))
        for step in question.escalate
    )
    url = question.callback
    compared = msgspec.structs.replace(
        question,
        to=plain,
        escalate=late,
        approvals_by={in_one_form(name, groups): count for name, count in question.approvals_by.items()},
        digest=None,
        offer=None,
        callback=url and f"{host_of(url)} ({stable_id(url, CALLBACK_DIGITS)})",
    )
    asked: dict[str, Json] = msgspec.to_builtins(compared)
    return asked


# Waiting


def wait(
    client: Client,
    posted: StandaloneRequest,
    groups: Groups,
    *,
    timeout_s: float | None = None,
    left: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    heard: Callable[[ThreadEntry], None] = lambda _: None,
) -> Promise:
    """Return the promise once it is settled, after `timeout_s` seconds, or once `left()` is true.

    `heard` is called with each entry of its thread. Raises NotFound (it was deleted), Unreachable (the server
    was unreachable for too long).
    """
    promise, number = posted.promise, 1

    def look() -> Promise | None:
        nonlocal promise, number
        promise, said = _now_of(client, posted, groups, entry_id(posted.id, number))
        while said is not None and (entry := entry_in(said)) is not None:
            heard(entry)
            number += 1
            said = get_promise(client, entry_id(posted.id, number))
        return None if promise.state == "pending" else promise

    if promise.state == "pending":
        wait_until(client, look, timeout_s=timeout_s, left=left, clock=clock)
    return promise


def _now_of(
    client: Client, posted: StandaloneRequest, groups: Groups, beside: str
) -> tuple[Promise, Promise | None]:
    """Return the current promise, settled if its votes decide, and the promise `beside`. Raises NotFound."""
    found = get_promises(client, [posted.id, beside])
    promise, other = found.get(posted.id), found.get(beside)
    if promise is None:
        raise NotFound(f"the request {posted.id} was deleted.")
    promise = settle_overdue(client, promise)
    if promise.state != "pending" or (not posted.question.several and not groups.policy):
        return promise, other
    item = demanded(summary_of(client, promise, promise), groups)
    if item.asked.several:
        tallied = count(item, votes_of(client, promise.id), groups)
        if tallied.deciding is not None:
            return complete(client, promise, tallied), other
    return promise, other


def decision_of(
    promise: Promise,
    question: Question,
    groups: Groups,
    run: Promise | None = None,
    asked: Question | Demand | None = None,
    names: Sequence[str] = (),
    amendments: tuple[Amendment, ...] | None = None,
) -> Decision[Json]:
    """Return the decision on a settled request; `run` is the run that asks.

    `asked` is the question as its asker has it, and `names` are its names for a policy (`names_of`): the
    stored ones are not trusted. `amendments` are None if they are not known. Raises RunFailed for an approval
    with an invalid answer, Unproven for one without the proof it needs.
    """
    run = promise if run is None and promise.origin == promise.id else run
    stored = question_of(promise) or question
    least = raised(strengthened(stored, question if asked is None else asked), groups.policy, names)
    item = RequestSummary(
        promise=promise,
        question=if_assigned(least) if amendments is None else least,
        run=run,
        now=promise.created_at,
        amendments=amendments or (),
    )
    check_proven(item, groups)
    if isinstance(asked, Question) and needs_check(needed := demanded(item, groups)):
        asked, allowed = sensible(asked), needed.asked.proof is None
        if not same_question(stored, asked, groups, allowed=allowed):
            changes = "; ".join(_differences(stored, asked, groups, allowed=allowed))
            changes = changes or "it is about another file"
            raise unproven(promise.id, f"it was changed after it was asked: {changes}")
    try:
        decision = decision_on(promise, question, decode(promise.value), headers_of(promise.value))
    except BadInput as error:
        raise RunFailed(
            f"{promise.id} was settled with an invalid answer: {error}", code="unreadable"
        ) from error
    chosen = not question.choices or decision.choice in question.choices
    if decision.approved and not chosen and not decision.expired:
        raise RunFailed(
            f"{promise.id} was settled with a value that is not one of its choices.", code="unreadable"
        )
    return decision


def withdraw(client: Client, actor: Actor, posted: StandaloneRequest) -> Promise:
    """Cancel a request that the actor may see, and return its promise: canceled, or decided earlier."""
    if not Sight(actor).among(client, [posted.promise]):
        raise no_request(posted.id)
    asker = asker_of(posted.promise, None)
    if asker is not None and "start" not in actor.may and not actor.groups.same(actor.person, asker):
        raise NotAllowed(
            f"{posted.id} was asked by {asker}: to cancel it, others need the permission start. Nothing was"
            " changed.",
            code="not-asker",
        )
    audit = Audit(id=fresh_id(), by=actor.person, via=actor.via, at=client.now())
    value = error_value("canceled by the person who asked", audit.headers())
    return send(client, cancel_request(posted.id, value))
