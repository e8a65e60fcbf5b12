"""The history as lines of JSON, which can be verified without the server (docs/reference/proof.md)."""

from __future__ import annotations

from itertools import batched, chain
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.tags import VOTE_TAG
from hitl_cli.client.wire import Promise
from hitl_cli.engine.records import Millis
from hitl_cli.ledger.checkpoints import recent, stored
from hitl_cli.ledger.leaves import Leaf, leaf_of, oldest_first, recorded_since
from hitl_cli.ledger.log import Log, start_of, unseen_since
from hitl_cli.proof.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.sight import Sight

AT_ONCE = 500
"""Promises that are read with one call."""


class ExportHeader(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line. Instants are in ms since the epoch.

    `log` is the name of the log, `start` the index of the first leaf in the file, `peaks` the frontier before
    it, in hex.
    """

    export: Literal["hitl-history/1"]
    at: Millis
    since: Millis | None = None
    until: Millis | None = None
    log: str | None = None
    start: int = 0
    peaks: tuple[str, ...] = ()


class ExportedCheckpoint(Struct, frozen=True, kw_only=True, tag_field="kind", tag="checkpoint"):
    """A line with the latest checkpoint on the server, or with one of `hitl prune`."""

    checkpoint: Checkpoint


class ExportedEntry(Struct, frozen=True, kw_only=True, tag_field="kind", tag="entry", omit_defaults=True):
    """A decided request or a vote: its promise, and the run that asks. `leaf` is its index in the log.

    `logged` is the leaf in the log, if it differs from the promise's leaf.
    """

    promise: Promise
    run: Promise | None = None
    leaf: int | None = None
    logged: Leaf | None = None


class ExportedLeaf(Struct, frozen=True, kw_only=True, tag_field="kind", tag="leaf", omit_defaults=True):
    """A leaf of the log whose decision or vote is not in the file: deleted, or `hidden` from the actor."""

    leaf: int
    logged: Leaf
    hidden: bool = False


class ExportEnd(Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """The last line: the number of lines before it."""

    lines: int


type ExportLine = ExportedCheckpoint | ExportedEntry | ExportedLeaf | ExportEnd


def export(
    client: Client, keys: Sequence[str], since: int | None, until: int | None, sight: Sight
) -> Iterator[bytes]:
    """Yield the lines of the history between two instants, in the order of the log, the rest oldest first.

    It includes checkpoints that one of these keys signed.
    """
    client.fire_due()
    log = Log(client)
    last = log.last()
    start, peaks = start_of(log, since)
    header = ExportHeader(
        export="hitl-history/1",
        at=client.now(),
        since=since,
        until=until,
        log=None if last is None else last.log,
        start=start,
        peaks=tuple(peak.hex() for peak in peaks),
    )
    lines = 0
    signed = chain(
        [one] if (one := next(stored(client, keys), None)) is not None else [],
        stored(client, keys, pruned=True),
    )
    own = (ExportedCheckpoint(checkpoint=one) for one in signed if one.log == header.log)
    every = chain(own, _logged(client, log, header, sight), _new(client, log, header, sight))
    for lines, line in enumerate(chain([header], every), 1):  # noqa: B007
        yield msgspec.json.encode(line) + b"\n"
    yield msgspec.json.encode(ExportEnd(lines=lines)) + b"\n"


def in_range(header: ExportHeader, at: int) -> bool:
    """Whether an instant is in the range of an export."""
    return (header.since is None or at >= header.since) and (header.until is None or at < header.until)


def _logged(client: Client, log: Log, header: ExportHeader, sight: Sight) -> Iterator[ExportLine]:
    """Yield the leaves of the log from the start of the range, also beyond its end for later checkpoints."""
    if header.log is None:
        return
    for piece in log.pieces(header.start):
        for some in batched(enumerate(piece.leaves, piece.start), AT_ONCE):
            found = get_promises(client, [leaf.id for _, leaf in some if in_range(header, leaf.at)])
            found = {id: one for id, one in found.items() if one.state != "pending"}
            runs = get_promises(client, _askers(found.values()))
            hidden = _hidden(client, list(found.values()), sight)
            for index, leaf in some:
                promise = found.get(leaf.id)
                own = None if promise is None else leaf_of(promise)
                if leaf.id in hidden:
                    yield ExportedLeaf(leaf=index, logged=leaf, hidden=True)
                elif promise is not None and own is not None and own.at == leaf.at:
                    logged = None if own == leaf else leaf
                    run = runs.get(promise.origin)
                    yield ExportedEntry(promise=promise, run=run, leaf=index, logged=logged)
                else:
                    yield ExportedLeaf(leaf=index, logged=leaf)


def _new(client: Client, log: Log, header: ExportHeader, sight: Sight) -> Iterator[ExportLine]:
    """Yield the decisions and votes of the range that are not in the log yet."""
    last = log.last()
    since = header.since or 0
    if not client.capabilities.plain:
        since = max(since, unseen_since(last, client.now()))
    known = {(leaf.id, leaf.at) for leaf in recent(log, since)}
    found = (
        (leaf, promise)
        for leaf, promise in recorded_since(client, since)
        if in_range(header, leaf.at) and (leaf.id, leaf.at) not in known
    )
    for some in batched(oldest_first(found, tuple[Leaf, Promise]), AT_ONCE):
        runs = get_promises(client, _askers(promise for _, promise in some))
        hidden = _hidden(client, [one for _, one in some], sight)
        shown = (one for _, one in some if one.id not in hidden)
        yield from (ExportedEntry(promise=one, run=runs.get(one.origin)) for one in shown)


def _hidden(client: Client, promises: Sequence[Promise], sight: Sight) -> set[str]:
    """Return the ids of decisions and votes on requests with private parts that the actor may not see."""
    if sight.actor.audits:
        return set()
    of = {one.id: one.tags.get(VOTE_TAG, one.id) for one in promises}
    known = {one.id: one for one in promises}
    known |= get_promises(client, sorted(set(of.values()) - known.keys()))
    requests = [known[id] for id in dict.fromkeys(of.values()) if id in known]
    whole = {one.id for one in sight.shown(client, requests) if one is known[one.id]}
    return {id for id, request in of.items() if request not in whole}


def _askers(promises: Iterable[Promise]) -> list[str]:
    """Return the ids of the runs that ask."""
    return sorted({one.origin for one in promises if one.origin != one.id})
