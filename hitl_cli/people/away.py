"""Absences and deputies: records on the server, so that every process knows them within seconds.

A record is a promise of its own: it is pending until the person is back, and its deadline is the end of the
absence. Records of a person are numbered, and the one with the highest number counts. So of two records that
are made at the same moment, the second counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.protocol import search, send, send_all
from hitl_cli.client.records import alone, closing_id
from hitl_cli.client.wire import Audit, audit_in, decode_as, fresh_id, headers_of
from hitl_cli.format.stable_ids import short_stable_id
from hitl_cli.people.groups import Absence, Groups, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

AWAY_TAG = "hitl:away"

OF_TAG = "hitl:away-of"
"""A hash of the person, so that their records are found."""

PREFIX = "hitl-away-"
"""Prefix of the ids of the records."""

LOOK_S = 0.1
"""How often the current absences are computed."""

FRESH_S = 1.0
"""How long a process uses the records that it has read."""


class AwayInput(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of a record; its promise's deadline is the end. `since` is ms since the epoch."""

    person: str
    since: int
    to: str | None = None


class Away(Struct, frozen=True, kw_only=True):
    """A person is away from `since` until `until`, ms since the epoch; `to` is their deputy.

    It was recorded at `said_at`; 0 if that is not known.
    """

    id: str
    number: int
    person: str
    since: int
    until: int
    to: str | None = None
    by: str | None = None
    via: str | None = None
    said_at: int = 0


def aways(client: Client, groups: Groups) -> list[Away]:
    """Return the present and coming absences: the last record of each person."""
    return _last(_records(client), groups)


def _last(records: Sequence[Away], groups: Groups) -> list[Away]:
    last: dict[str, Away] = {}
    for away in sorted(records, key=lambda one: one.number):
        last[groups.key(away.person)] = away
    return sorted(last.values(), key=lambda one: (one.since, one.person))


def set_away(client: Client, groups: Groups, said: AwayInput, *, until: int, by: str, via: str) -> Away:
    """Store that a person is away, in place of an earlier record."""
    of = short_stable_id(groups.key(said.person))
    before = [found for one in search(client, tags={OF_TAG: of}) if (found := _number_of(one.id, of))]
    number, own = max(before, default=0), fresh_id()
    headers = Audit(id=own, by=by, via=via, at=client.now()).headers()
    while True:
        number += 1
        id = f"{PREFIX}{of}-{number}"
        data = msgspec.to_builtins(said)
        create = alone(id, data, headers, until=until, tags={AWAY_TAG: "1", OF_TAG: of})
        kept = send(client, create)
        if audit_in(headers_of(kept.param)).id == own:
            break
    _close(client, of, below=number)
    away = _away_in(kept)
    assert away is not None
    return away


def end_away(client: Client, groups: Groups, person: str) -> bool:
    """End a person's absence. Returns whether there was one."""
    return _close(client, short_stable_id(groups.key(person)), below=None)


def _close(client: Client, of: str, *, below: int | None) -> bool:
    found = [
        promise.id
        for promise in search(client, state="pending", tags={OF_TAG: of})
        if (number := _number_of(promise.id, of)) and (below is None or number < below)
    ]
    send_all(client, list(map(closing_id, found)))
    _Records.said += 1  # for the clients of all threads, so that the author sees it at once
    return bool(found)


def _number_of(id: str, of: str) -> int | None:
    number = id.removeprefix(f"{PREFIX}{of}-")
    return int(number) if number.isascii() and number.isdecimal() else None


def _records(client: Client) -> list[Away]:
    return _aways_in(search(client, state="pending", tags={AWAY_TAG: "1"}))


def _aways_in(promises: Iterable[Promise]) -> list[Away]:
    return [away for promise in promises if (away := _away_in(promise)) is not None]


def _away_in(promise: Promise) -> Away | None:
    """Return the absence in a record; None if the promise is not valid."""
    said, of = decode_as(promise.param, AwayInput), promise.tags.get(OF_TAG, "")
    number = _number_of(promise.id, of)
    if said is None or number is None or promise.is_call or promise.is_blocking:
        return None
    audit = audit_in(headers_of(promise.param))
    known = msgspec.structs.asdict(said) | {"by": audit.by, "via": audit.via}
    return Away(id=promise.id, number=number, until=promise.timeout_at, said_at=promise.created_at, **known)


# Deputies now


class _Records:
    """The records on a client's server, cached for a while, or until something is committed."""

    said = 0
    """How often this process has recorded something."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._read_at = 0.0
        self._read: tuple[int, int | None] | None = None
        self._found: list[Away] = []
        self.made: dict[int, tuple[Groups, Groups]] = {}
        """Groups, and the same with deputies, by the identity of the first."""

    def now(self) -> list[Away]:
        """Return the present and coming absences. Raises Unreachable."""
        if self._read is None or self._read[0] != _Records.said or time.monotonic() - self._read_at > FRESH_S:
            version = self.client.version() if self.client.capabilities.serial else None
            state = _Records.said, version
            if version is None or state != self._read:
                self._found = _records(self.client)
            self._read_at, self._read = time.monotonic(), state
        return self._found

    def keep(self, promises: Iterable[Promise], said: int) -> None:
        """Store records that were just read together with something else."""
        self._found, self._read_at, self._read = _aways_in(promises), time.monotonic(), (said, None)


class _Absent(Standing):
    """The current absences on a client's server, for some groups. They are read on first use."""

    def __init__(self, records: _Records, groups: Groups) -> None:
        self._groups = groups
        self._all = records
        self._seen: list[Away] = []
        self._looked_at = 0.0
        self._active: list[Away] = []
        self._away: tuple[Absence, ...] = ()
        self._stands_in: dict[str, tuple[Absence, ...]] = {}

    @property
    def away(self) -> tuple[Absence, ...]:
        """The current absences."""
        self._look()
        return self._away

    @property
    def stands_in(self) -> Mapping[str, tuple[Absence, ...]]:
        """The absences, by the key of each deputy."""
        self._look()
        return self._stands_in

    def _look(self) -> None:
        """Compute the current absences, if they have changed."""
        records, at = self._all.now(), time.monotonic()
        if (not records and not self._active) or (records is self._seen and at - self._looked_at < LOOK_S):
            return
        self._seen, self._looked_at = records, at
        now = self._all.client.now()
        active = [one for one in _last(records, self._groups) if one.since <= now < one.until]
        if active == self._active:
            return
        self._active, self._away = active, tuple(absences_of(self._groups, active))
        self._stands_in = by_deputy(self._away, self._groups)


MOST_MADE = 16
"""Groups that are kept for a client."""


def read_aways(client: Client, *, anew: bool = False) -> None:
    """Read the absences into the cache; with `anew`, even if they were read lately."""
    if anew:
        said = times_said()
        keep_aways(client, search(client, state="pending", tags={AWAY_TAG: "1"}), said)
    else:
        _known(client).now()


def times_said() -> int:
    """Return how often this process has recorded who is away, so that no later record is missed."""
    return _Records.said


def keep_aways(client: Client, promises: Iterable[Promise], said: int) -> None:
    """Store the absences in the cache, from all pending promises with AWAY_TAG.

    `said` is what `times_said` returned before they were read.
    """
    _known(client).keep(promises, said)


def _known(client: Client) -> _Records:
    found: _Records = client.kept.get(AWAY_TAG) or client.kept.setdefault(AWAY_TAG, _Records(client))
    return found


class _Fixed(Standing):
    """The absences at one moment."""

    def __init__(self, absences: tuple[Absence, ...], groups: Groups) -> None:
        self._absences = absences
        self._by_deputy = by_deputy(absences, groups)

    @property
    def away(self) -> tuple[Absence, ...]:
        """The absences at that moment."""
        return self._absences

    @property
    def stands_in(self) -> Mapping[str, tuple[Absence, ...]]:
        """The absences, by the key of each deputy."""
        return self._by_deputy


def deputized(groups: Groups, absences: tuple[Absence, ...]) -> Groups:
    """Return groups with the absences at one moment."""
    return replace(groups, standing=_Fixed(absences, groups))


def by_deputy(absences: Iterable[Absence], groups: Groups) -> dict[str, tuple[Absence, ...]]:
    """Return absences, by the key of each deputy."""
    found: dict[str, tuple[Absence, ...]] = {}
    for absence in absences:
        for name in absence.deputies:
            key = groups.key(name)
            found[key] = (*found.get(key, ()), absence)
    return found


def with_deputies(client: Client, groups: Groups) -> Groups:
    """Return groups that know the current absences. The same object for the same groups."""
    records = _known(client)
    known, made = records.made.get(id(groups), (None, groups))
    if known is not groups:
        if len(records.made) >= MOST_MADE:
            records.made.clear()
        made = replace(groups, standing=_Absent(records, groups))
        records.made[id(groups)] = groups, made
    return made


def absences_of(groups: Groups, active: Iterable[Away]) -> list[Absence]:
    """Return the absences with all deputies, including deputies of absent deputies; a circle ends the chain.

    A person who recorded somebody else's absence does not become a deputy by it.
    """
    by_key = {groups.key(one.person): one for one in active}
    absences = []
    for key, one in by_key.items():
        deputies: dict[str, str] = {}
        said_by: set[str] = set()
        since = 0
        at: Away | None = one
        while at is not None and at.to is not None and (following := groups.key(at.to)) != key:
            if at.by is not None and not groups.same(at.by, at.person):
                said_by.add(groups.key(at.by))
            if following in deputies or following in said_by:
                break
            deputies[following] = groups.name(at.to)
            since = max(since, at.since, at.said_at)
            at = by_key.get(following)
        absences.append(
            Absence(
                person=groups.name(one.person),
                until=one.until,
                deputies=tuple(deputies.values()),
                since=since,
            )
        )
    return absences
