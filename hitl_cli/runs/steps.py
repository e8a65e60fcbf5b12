"""The steps of a run, as a tree."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.protocol import PAGE, get_promise, search, search_pages
from hitl_cli.client.tags import (
    AMENDS_TAG,
    COMMENT_TAG,
    NOTICE_TAG,
    ORIGIN_TAG,
    PARENT_TAG,
    RETRY_TAG,
    REVOKED_TAG,
    THREAD_TAG,
    USED_TAG,
    VOTE_TAG,
)
from hitl_cli.client.wire import Promise, decode_as
from hitl_cli.runs.reading import known
from hitl_cli.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.sight import Sight


type Kind = Literal[
    "run",
    "step",
    "call",
    "sleep",
    "person",
    "vote",
    "comment",
    "revocation",
    "notice",
    "use",
    "amendment",
    "thread",
]


class Retry(Struct, frozen=True):
    """A failed attempt at a step: the error, its place, and when it is retried, in ms since the epoch."""

    error: str
    again: int
    where: str | None = None


class RunStep(Struct, frozen=True, kw_only=True):
    """A step in the tree of a run. `retries` are its failed attempts so far, the oldest first."""

    promise: Promise
    kind: Kind
    children: list[RunStep]
    retries: list[Retry]


class RunTree(Struct, frozen=True, kw_only=True):
    """A run with its steps as a tree; `more` tells whether steps were left out."""

    run: Run
    root: RunStep
    more: bool


def tree(client: Client, id: str) -> RunStep:
    """Return a run with all its steps, in the order in which they were created.

    For the id of a step it returns the run of the step. Raises NotFound.
    """
    return first_steps(client, id, None)[0]


def first_steps(
    client: Client, id: str, most: int | None, sight: Sight | None = None
) -> tuple[RunStep, bool]:
    """Return the same with at most `most` steps, and whether there are more. Raises NotFound.

    With a `sight`, requests that may not be seen are left empty.
    """
    named = known(client, id)
    root = get_promise(client, named.origin) or named
    tags, size = {ORIGIN_TAG: root.id}, PAGE if most is None else most + 2
    plain = client.capabilities.plain
    pages = [search(client, tags=tags)] if plain else search_pages(client, size, tags=tags)
    every = (p for page in pages for p in page if p.id != root.id)
    promises = list(islice(every, most))
    more = next(every, None) is not None
    if sight is not None:
        root, *promises = sight.lineage(root, [root, *promises])
    return tree_of(root, promises), more


def way_to(promise: Promise, lineage: Sequence[Promise]) -> list[str]:
    """Return the ids of a promise and of the steps that contain it, from the inside out."""
    parents = {one.id: one.tags.get(PARENT_TAG, "") for one in (*lineage, promise)}
    way = [promise.id]
    while (above := parents.get(way[-1])) and above not in way:
        way.append(above)
    return way


def tree_of(root: Promise, below: Iterable[Promise]) -> RunStep:
    """Return a run as a tree with these steps, in the given order."""
    every = [promise for promise in below if promise.id != root.id]
    promises = [promise for promise in every if RETRY_TAG not in promise.tags]
    nodes = {p.id: RunStep(promise=p, kind=_kind_of(p), children=[], retries=[]) for p in [root, *promises]}
    for promise in every:
        node = nodes.get(promise.tags.get(RETRY_TAG, ""))
        if node is not None and (retry := decode_as(promise.param, Retry)) is not None:
            node.retries.append(retry)
    for promise in promises:
        parent = nodes.get(promise.tags.get(PARENT_TAG, ""), nodes[root.id])
        if parent is not nodes[promise.id]:
            parent.children.append(nodes[promise.id])
    return nodes[root.id]


RECORDS: dict[str, Kind] = {
    VOTE_TAG: "vote",
    COMMENT_TAG: "comment",
    AMENDS_TAG: "amendment",
    USED_TAG: "use",
    THREAD_TAG: "thread",
    NOTICE_TAG: "notice",
    REVOKED_TAG: "revocation",
}
"""The kinds of promises that have one of these tags."""


def _kind_of(promise: Promise) -> Kind:
    """Return the kind of step of a promise."""
    if promise.is_run:
        return "run"
    recorded = next((kind for tag, kind in RECORDS.items() if tag in promise.tags), None)
    if recorded is not None:
        return recorded
    if promise.is_timer:
        return "sleep"
    if promise.is_blocking:
        return "person"
    return "call" if promise.is_call else "step"
