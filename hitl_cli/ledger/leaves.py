"""Leaves of the history, and the decisions and votes on a server in the order of their recording."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from heapq import merge
from itertools import batched
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import search, search_pages
from hitl_cli.client.tags import SAID_TAG, VOTE_TAG
from hitl_cli.format.canonical_json import canonical
from hitl_cli.inbox.history import settled_at, settled_since
from hitl_cli.inspected import inspected
from hitl_cli.proof.tree import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.engine.records import Value

VERSION = "hitl-leaf/1"

SPOOLED = 500
"""Items that are written to a temporary file at once."""

type LeafKind = Literal["decision", "vote"]


class Leaf(Struct, frozen=True, array_like=True, gc=False):
    """A leaf as the log has it: all of it is hashed.

    `at` is when the server settled the request, or stored the vote. `run` asked it; None if none did.
    `content` is the SHA-256 of what was stored.
    """

    kind: LeafKind
    id: str
    at: int
    run: str | None
    content: bytes

    @property
    def hash(self) -> bytes:
        """The hash of the leaf in the tree: of canonical JSON."""
        said = {
            "at": self.at,
            "content": self.content.hex(),
            "id": self.id,
            "kind": self.kind,
            "leaf": VERSION,
            "run": self.run,
        }
        return leaf_hash(msgspec.json.encode(said))


def leaf_of(promise: Promise) -> Leaf:
    """Return the leaf of a decided request, or of a vote."""
    voted = promise.tags.get(VOTE_TAG)
    return Leaf(
        "decision" if voted is None else "vote",
        promise.id,
        settled_at(promise) if voted is None else promise.created_at,
        None if promise.origin in (promise.id, voted) else promise.origin,
        sha256(content_of(promise)).digest(),
    )


def content_of(promise: Promise) -> bytes:
    """Return the canonical JSON (RFC 8785) of a request and its decision, or of a vote, as stored."""
    param, value = _payload(promise.param), _payload(promise.value)
    said: dict[str, Json] = {
        "id": promise.id,
        "param": param,
        "tags": promise.tags,
        "created": promise.created_at,
        "deadline": promise.timeout_at,
    }
    if VOTE_TAG not in promise.tags:
        said |= {"state": promise.state, "value": value, "settled": settled_at(promise)}
    # RFC 8785 sorts names by UTF-16, msgspec by code points; the order differs only beyond U+FFFF.
    if all(map(str.isascii, (*promise.tags, *param["headers"], *value["headers"]))):
        return msgspec.json.encode(said, order="sorted")
    return canonical(said)


def _payload(value: Value | None) -> dict[str, Json]:
    """Return the param or the value of a promise, in one form for each way to store nothing."""
    return {"headers": (value and value.headers) or {}, "data": (value and value.data) or ""}


def recorded_since(client: Client, since: int) -> Iterator[tuple[Leaf, Promise]]:
    """Yield the decisions and votes on a server that are not older than an instant, newest first."""
    streams = (
        ((leaf_of(promise), promise) for promise in promises)
        for promises in (settled_since(client, since), _votes_since(client, since))
    )
    return merge(*streams, key=_place, reverse=True)


def _place(found: tuple[Leaf, Promise]) -> int:
    return found[0].at


def _votes_since(client: Client, since: int) -> Iterator[Promise]:
    """Yield the promises of votes, newest first."""
    said = {SAID_TAG: "1"}
    if not client.capabilities.sort:
        votes = [(promise.created_at, promise.id, promise) for promise in search(client, tags=said)]
        votes.sort(key=itemgetter(0, 1), reverse=True)
        yield from (vote for at, _, vote in votes if at >= since and VOTE_TAG in vote.tags)
        return
    for page in search_pages(client, tags=said, sort="-created"):
        for promise in page:
            if promise.created_at < since:
                return
            if VOTE_TAG in promise.tags:
                yield promise


def oldest_first[T](items: Iterable[T], kind: type[T]) -> Iterator[T]:
    """Yield items in the opposite order. They are kept in a file: a million would not fit into memory."""
    places: list[tuple[int, int]] = []
    decoder = msgspec.msgpack.Decoder(inspected(tuple[kind, ...]))  # type: ignore[valid-type]
    with tempfile.TemporaryFile(prefix="hitl-") as file:
        for some in batched(items, SPOOLED):
            at = file.tell()
            places.append((at, file.write(msgspec.msgpack.encode(some))))
        for at, size in reversed(places):
            file.seek(at)
            yield from reversed(decoder.decode(file.read(size)))
