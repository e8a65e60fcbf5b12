"""Links that let one person answer one request: signed, expiring, revocable (docs/explanation/security.md).

The gateway stores no links: person and expiry are in the link itself, signed. Revocations are stored on the
server, under the request, so that every gateway sees them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.auth import signed_token
from hitl_cli.auth.ended import ends, is_ended, person_subject
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.auth.signing_keys import LONGEST_LIFE_MS
from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.records import store, under
from hitl_cli.client.tags import ORIGIN_TAG, REVOKED_TAG
from hitl_cli.client.wire import Audit, audit_of, child_id, decode_as, fresh_id
from hitl_cli.errors import BadInput, Conflict, NotFound, TimedOut
from hitl_cli.format.durations import bad_duration, format_age, format_duration
from hitl_cli.inbox.decide import proof_needed
from hitl_cli.inbox.decision_result import already
from hitl_cli.inbox.pending import demanded, shown, summaries
from hitl_cli.inbox.permission import check_may_answer
from hitl_cli.inbox.resolve import find
from hitl_cli.people.actor import check_person
from hitl_cli.people.away import with_deputies
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.people.sight import took_part
from hitl_cli.requests.question import outcome_of, prompt_of, replaced_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight

PATH = "/l/"


class LinkKind(NamedTuple):
    """What a link is for: its path at the gateway, and the salt of its signature."""

    path: str
    salt: str


PAGE = LinkKind(PATH, "hitl.link")
"""For a person: it leads to a page."""

PROGRAM = LinkKind("/api/v1/answers/", "hitl.answer")
"""For a program: it takes the answer by POST, and nothing else."""

DEFAULT_LIFE_MS = 30 * 86_400_000
"""Default validity of a link. A link never outlives the deadline of its request."""

ID_BYTES = 9


class Link(TokenFields, frozen=True, kw_only=True):
    """The content of a link: its request and person, when it was made and when it expires, and its id.

    Instants are ms since the epoch, by the server's clock.
    """

    request: str
    person: str
    made_at: int
    ends_at: int
    id: str


class _Revocation(Struct, frozen=True, kw_only=True):
    """A revocation: of one link (by id), or of all links made so far, for one person or everyone."""

    link: str | None = None
    person: str | None = None


class LinkInvalid(BadInput):
    """The link is not valid, or was changed."""

    code = "link-invalid"


class LinkExpired(TimedOut):
    """The link has expired or was revoked."""

    code = "link-expired"


class LinkUsed(Conflict):
    """The link's request was decided by someone else or has ended, at `at` (ms since the epoch).

    `replaced_by` is the request that replaced it.
    """

    code = "link-used"

    def __init__(self, message: str, at: int, replaced_by: str | None = None) -> None:
        super().__init__(message)
        self.at = at
        self.replaced_by = replaced_by


# Making and reading


def make(
    client: Client,
    name: str,
    person: str,
    *,
    life_ms: int | None = None,
    groups: Groups = NO_GROUPS,
    whole: bool = False,
    kind: LinkKind | None = None,
    sight: Sight | None = None,
) -> Link:
    """Return a link for a person to answer a request, found by any name of it or only by its `whole` one.

    `sight` is of who makes it. Raises NotFound, BadInput (ambiguous name, invalid person or validity),
    NotAllowed (the person may not answer it, or it needs a signature and the link is of the kind PROGRAM),
    Conflict, TimedOut (it was decided or has expired).
    """
    person = groups.name(check_person(person))
    if life_ms is not None and life_ms > LONGEST_LIFE_MS:
        raise bad_duration(f"a link can be valid for at most {format_duration(LONGEST_LIFE_MS)}.")
    item = demanded(find(client, name, whole=whole, sight=sight), groups)
    if item.promise.state != "pending":
        raise already((item if sight is None else shown(sight, item)).promise, item.now)
    if kind == PROGRAM and item.asked.proof is not None:
        raise proof_needed(item)  # a posted answer has no signature
    check_may_answer(item, person, with_deputies(client, groups))
    return link_for(item.promise, person, now=client.now(), life_ms=life_ms)


def link_for(
    request: Promise, person: str, *, now: int, life_ms: int | None = None, id: str | None = None
) -> Link:
    """Return a link for a person to answer a request, valid for `life_ms` at most and until the deadline."""
    life = min(DEFAULT_LIFE_MS if life_ms is None else life_ms, LONGEST_LIFE_MS)
    ends_at = min(now + life, request.timeout_at)
    return Link(request=request.id, person=person, made_at=now, ends_at=ends_at, id=id or fresh_link_id())


def fresh_link_id() -> str:
    """Return a unique id."""
    return os.urandom(ID_BYTES).hex()


def url_of(gateway: str, link: Link, keys: Keys, kind: LinkKind = PAGE) -> str:
    """Return the URL of a link on a gateway (a URL), signed with the first key."""
    return f"{gateway}{kind.path}{quote(signed_token.sign(link, kind.salt, keys))}"


def token_of(url: str, kind: LinkKind = PAGE) -> str:
    """Return the token in a link's URL. Raises LinkInvalid if there is none."""
    _, found, token = unquote(urlsplit(url).path).rpartition(kind.path)
    if not found:
        raise LinkInvalid(f"{url} is not a link to a request: copy the whole link.")
    return token


def link_at(url: str, keys: Keys) -> Link:
    """Return the content of a link of either kind by its URL. Raises LinkInvalid."""
    kind = PROGRAM if PROGRAM.path in url else PAGE
    return link_in(token_of(url, kind), keys, kind)


def link_in(token: str, keys: Keys, kind: LinkKind = PAGE) -> Link:
    """Return the content of a signed link, even if it has expired. Raises LinkInvalid."""
    link = signed_token.read(token, Link, kind.salt, keys)
    if link is None:
        raise LinkInvalid("this link is not valid: it was changed, or is incomplete.")
    return link


def open_link(client: Client, link: Link, groups: Groups, *, clock: Callable[[], int]) -> RequestSummary:
    """Return the request of a link, for its person to answer or to see the decision. Changes nothing.

    Raises LinkExpired, NotFound (the request was deleted), NotAllowed (the person may not answer it now),
    LinkUsed (it no longer needs an answer). `clock` returns ms since the epoch.
    """
    item = summaries(client, [link.request]).get(link.request)
    request = None if item is None else item.promise
    if clock() >= link.ends_at:
        if request is not None and request.expired_at is not None:
            raise _used(request, client.now())
        raise LinkExpired("this link has expired. Ask for a new one, or sign in.")
    ended = is_ended(ends(client), [person_subject(link.person, groups)], link.made_at)
    if ended or is_revoked(client, link, groups):
        raise LinkExpired("this link was revoked. Ask for a new one, or sign in.")
    if item is None or request is None or not request.is_blocking:
        raise NotFound("the request of this link was deleted.")
    if request.state == "pending":
        check_may_answer(item, link.person, with_deputies(client, groups))
    elif not took_part(request, link.person, groups):
        raise _used(
            request, client.now(), search(client, tags={ORIGIN_TAG: request.tags.get(ORIGIN_TAG, "")})
        )
    return item


def _used(settled: Promise, now: int, others: Iterable[Promise] = ()) -> LinkUsed:
    """Return the error with a request's outcome; one of the `others` may have replaced it."""
    from hitl_cli.format.markdown import as_words

    title = prompt_of(settled)
    what = f"“{as_words(title)}”" if title else settled.id
    if (at := settled.expired_at) is not None:
        return LinkUsed(f"{what} can no longer be answered: its deadline passed {_ago(at, now)}.", at)
    audit = audit_of(settled)
    by = f" by {audit.by}" if audit.by else ""
    at = audit.at or settled.settled_at or now
    said = f"{what} was {outcome_of(settled)}{by} {_ago(at, now)}."
    new = replaced_by(settled, others)
    if new is not None:
        said += " The workflow has changed, and a new request replaces it."
    return LinkUsed(said, at, new)


def _ago(at: int, now: int) -> str:
    """Return how long ago something was (both ms since the epoch)."""
    return f"{format_age(max(now - at, 0))} ago"


# Revoking


def revoke_link(client: Client, link: Link, *, by: str, via: str) -> Promise:
    """Revoke one link on all gateways of a server, and return its request. Raises NotFound."""
    request = get_promise(client, link.request)
    if request is None:
        raise NotFound(f"the request {link.request} no longer exists.")
    return _revoke(client, request, _Revocation(link=link.id), by=by, via=via)


def revoke_all(
    client: Client,
    name: str,
    person: str | None,
    *,
    by: str,
    via: str,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> Promise:
    """Revoke all links made so far for a request and a person (None: for everyone).

    `sight` is of who revokes them. Returns the request. Raises NotFound, BadInput (ambiguous name).
    """
    if person is not None:
        person = groups.name(check_person(person))
    return _revoke(
        client, find(client, name, sight=sight).promise, _Revocation(person=person), by=by, via=via
    )


def _revoke(client: Client, request: Promise, what: _Revocation, *, by: str, via: str) -> Promise:
    """Store a revocation with a request, and return the request."""
    audit = Audit(id=fresh_id(), by=by, via=via, at=client.now())
    own = f"r{what.link or audit.id}"
    create = under(request, child_id(request.id, own), REVOKED_TAG, msgspec.to_builtins(what), audit)
    store(client, create)
    return request


def is_revoked(client: Client, link: Link, groups: Groups) -> bool:
    """Whether a link was revoked."""
    return any(_revokes(one, link, groups) for one in search(client, tags={REVOKED_TAG: link.request}))


def _revokes(promise: Promise, link: Link, groups: Groups) -> bool:
    """Whether a revocation covers a link."""
    what = decode_as(promise.param, _Revocation)
    if what is None:
        return False
    if what.link is not None:
        return what.link == link.id
    whose = what.person is None or groups.same(what.person, link.person)
    return whose and link.made_at <= promise.created_at
