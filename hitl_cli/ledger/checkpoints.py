"""Makes checkpoints, and stores them on the server beside the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.protocol import search, search_pages, send
from hitl_cli.client.records import alone, store
from hitl_cli.client.tags import CHECKPOINT_PREFIX, LOG_TAG
from hitl_cli.client.wire import decode_as, fresh_id
from hitl_cli.errors import NotFound
from hitl_cli.ledger.leaves import Leaf, oldest_first, recorded_since
from hitl_cli.ledger.log import LIFE_MS, Log, Raced, blocks_since, unseen_since
from hitl_cli.proof.checkpoint import Checkpoint, CheckpointSigner, signed_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

RACES = 5
"""How often a checkpoint begins again because another process was first."""


def make(
    client: Client, signer: CheckpointSigner, pruned: int | None = None, id: str | None = None
) -> Checkpoint | None:
    """Append new leaves to the log, sign its root, store the checkpoint on the server, and return it.

    With an `id`, it stays pending; None if another process has made one with that id. Raises BadInput (no key
    to sign with), NotFound (no decisions yet), Raced.
    """
    signer.check()
    client.fire_due()
    size, root, name = _append(client)
    if not size:
        raise NotFound("there are no decisions yet, so there is nothing to sign.")
    made = Checkpoint(
        checkpoint="hitl-checkpoint/1", log=name, size=size, root=root, at=client.now(), pruned=pruned
    )
    signed = signer.sign(made)
    own = f"{CHECKPOINT_PREFIX}{fresh_id()}" if id is None else id
    tags = {LOG_TAG: "checkpoint" if pruned is None else "pruned"}
    create = alone(own, signed, None, until=client.now() + LIFE_MS, tags=tags)
    kept = send(client, create) if id else store(client, create)
    return signed if decode_as(kept.param, Checkpoint) == signed else None


def _append(client: Client) -> tuple[int, str, str]:
    """Append new leaves to the log. Return its size, its root in hex, and its name."""
    for attempt in range(RACES):
        log = Log(client)
        last = log.last()
        # A Resonate Server may settle an overdue request much later; it reads all promises anyway.
        since = 0 if client.capabilities.plain else unseen_since(last, client.now())
        known = {(leaf.id, leaf.at) for leaf in recent(log, since)}
        found = (leaf for leaf, _ in recorded_since(client, since) if (leaf.id, leaf.at) not in known)
        try:
            frontier = log.append(oldest_first(found, Leaf))
        except Raced:
            if attempt == RACES - 1:
                raise
        else:
            first = next(log.pieces(), None)
            return frontier.size, frontier.root().hex(), "" if first is None else first.log
    raise AssertionError


def recent(log: Log, since: int) -> Iterator[Leaf]:
    """Yield the leaves of a log that may be from `since` or later."""
    return (leaf for block in blocks_since(log, since) for piece in block for leaf in piece.leaves)


def stored(client: Client, keys: Sequence[str], *, pruned: bool = False) -> Iterator[Checkpoint]:
    """Yield the checkpoints on the server that one of these keys signed, newest first.

    With `pruned`, only those of `hitl prune`. Anyone who can write the database can add others.
    """
    for kind in ("pruned",) if pruned else ("checkpoint", "pruned"):
        for promise in _newest_first(client, {LOG_TAG: kind}):
            checkpoint = decode_as(promise.param, Checkpoint)
            if checkpoint is not None and signed_with(checkpoint, keys) is not None:
                yield checkpoint


def _newest_first(client: Client, tags: dict[str, str]) -> Iterator[Promise]:
    if not client.capabilities.sort:
        yield from reversed(search(client, tags=tags))
        return
    for page in search_pages(client, tags=tags, sort="-created"):
        yield from page
