"""Reads the pages of a list at a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hitl_cli.remote.calls import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReadPage[T](Protocol):
    """Returns at most `limit` entries from a cursor on, and the cursor of the next page."""

    def __call__(self, *, limit: int, after: str | None) -> tuple[Sequence[T], str | None]:
        """Read one page."""
        ...


def read_pages[T](page: ReadPage[T], limit: int | None) -> tuple[list[T], bool]:
    """Return the first `limit` entries of a list, or all, and whether there are more."""
    found: list[T] = []
    after: str | None = None
    while True:
        size = MOST if limit is None else min(limit - len(found), MOST)
        items, after = page(limit=size, after=after)
        found += items
        if after is None or len(found) == limit:
            return found, after is not None
