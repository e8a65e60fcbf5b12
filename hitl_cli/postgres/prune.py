"""Removes runs that ended long ago from a database, in short transactions. The rules are those of a file."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, LiteralString

import msgspec
from msgspec import Struct

from hitl_cli.engine.prune import UNFETCHED_MS, Pruned, Reason, pause
from hitl_cli.format.json import to_json
from hitl_cli.inspected import inspected
from hitl_cli.postgres.client import PostgresClient

if TYPE_CHECKING:
    from hitl_cli.engine.prune import Progress


class _Page(Struct, frozen=True):
    """The result of one transaction of hitl.prune; `after` is the place of the next, if there is `more`."""

    runs: int
    promises: int
    kept: dict[Reason, int]
    first: int | None
    last: int | None
    after: tuple[int, str] | None
    more: bool


PRUNE: LiteralString = "SELECT hitl.prune(%s::jsonb, %s, %s, %s)::text"

_page = msgspec.json.Decoder(inspected(_Page))


def prune(url: str, older_ms: int, progress: Progress, *, dry_run: bool) -> Pruned:
    """Remove the runs that ended `older_ms` ago or earlier by the clock of the database; with `dry_run` none.

    It may be interrupted at any moment. Raises BadServer, Unreachable.
    """
    runs = promises = 0
    kept: Counter[Reason] = Counter()
    ends: list[int] = []
    after: tuple[int, str] | None = None
    more = True
    with PostgresClient(url) as client:
        now = client.now()
        while more:
            began = time.monotonic()
            place = None if after is None else to_json(after)
            values = (place, now - older_ms, now - UNFETCHED_MS, not dry_run)
            page = _page.decode(client.value(PRUNE, *values))
            after, more = page.after, page.more
            runs += page.runs
            promises += page.promises
            kept.update(page.kept)
            ends += [end for end in (page.first, page.last) if end is not None]
            progress(runs)
            if not dry_run and more:
                pause(began)
    return Pruned(
        runs=runs,
        promises=promises,
        kept=dict(kept),
        first_ended_at=min(ends, default=None),
        last_ended_at=max(ends, default=None),
        in_file=False,
    )
