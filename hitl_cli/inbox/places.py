"""Where a page of a list ended, so that the next one goes on there whatever has changed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hitl_cli.wire import Promise


class Place(NamedTuple):
    """Where a promise stands: by what the list is sorted by, then by the instant `at` (ms), then by id."""

    first: int
    at: int
    id: str


def rest_after(
    ordered: Sequence[Promise],
    after: Place | None,
    place_of: Callable[[Promise], Place],
    *,
    newest_first: bool = False,
) -> Iterator[Promise]:
    """Yield what comes after a place in a list, be what stood there gone or not."""
    if after is None:
        yield from ordered
        return
    at = next((n for n, promise in enumerate(ordered) if promise.id == after.id), None)
    if at is not None:
        yield from ordered[at + 1 :]
        return
    for promise in ordered:
        place = place_of(promise)
        if (place < after) if newest_first else (place > after):
            yield promise
