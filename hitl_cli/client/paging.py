"""Lists that are read page by page. Each page starts where the last one ended, even if the list changed."""

from __future__ import annotations

import base64
import binascii
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import Page
from hitl_cli.errors import BadInput
from hitl_cli.format.json import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from hitl_cli.client.protocol import Reader
    from hitl_cli.client.wire import Promise

    class _HasId(Protocol):
        @property
        def id(self) -> str: ...


type Place = tuple[int, int, str]
"""The position of a promise in a list: two numbers, then its id."""

LOOKS = 40
"""How many reads may be needed to fill a page, if a filter drops promises."""

HIDING_LOOKS = 400
HIDING_SIZE = 200
"""The same for a list with hidden items, and how many promises to read at a time for it."""

LONGEST_CURSOR = 8_192
"""Most characters of a cursor that are read; ids can be long."""


def page_of[T: _HasId](
    read: Reader,
    keep: Callable[[Sequence[Promise]], Sequence[T]],
    *,
    order: str,
    limit: int,
    after: str | None,
    hides: bool = False,
) -> tuple[list[T], str | None]:
    """Return up to `limit` items of a list, and the `after` of the next page, which is None on the last.

    `keep` filters the promises. Reading stops after LOOKS reads, so a page that is not the last can be short
    or empty. With `hides`, a page must not reveal dropped items: it is full, `after` points to an item, and a
    next page exists only if it has one. `order` names the list. Raises BadInput for an `after` of another
    list.
    """
    cursor = None if after is None else cursor_in(after, order)
    if hides:
        return _hiding_page(read, keep, order, limit, cursor)
    found: list[T] = []
    for _ in range(LOOKS):
        page = read(limit - len(found), cursor)
        found += keep(page.promises)
        cursor = page.cursor
        if cursor is None or len(found) * 2 >= limit:
            break
    if cursor is None:
        return found, None
    return found, cursor_of(cursor, order)


def _hiding_page[T: _HasId](
    read: Reader,
    keep: Callable[[Sequence[Promise]], Sequence[T]],
    order: str,
    limit: int,
    cursor: str | None,
) -> tuple[list[T], str | None]:
    """Return a page that does not reveal dropped items, unless it takes more than HIDING_LOOKS reads."""
    found: list[T] = []
    last: str | None = None
    for _ in range(HIDING_LOOKS):
        page = read(HIDING_SIZE, cursor)
        for item in keep(page.promises):
            if len(found) == limit:
                return found, None if last is None else cursor_of(last, order)
            found.append(item)
            if len(found) == limit:  # the next items may be hidden: end the page at this one
                place = [promise.id for promise in page.promises].index(item.id)
                last = read(place + 1, cursor).cursor
        cursor = page.cursor
        if cursor is None:
            return found, None
    return found, cursor_of(last or cursor or "", order)


def cursor_of(cursor: str, order: str) -> str:
    """Return a cursor of a list as a text that names the list."""
    return base64.urlsafe_b64encode(msgspec.json.encode((order, cursor))).decode().rstrip("=")


def cursor_in(text: str, order: str) -> str:
    """Return the cursor in a text. Raises BadInput if it is not valid or of another list."""
    given = text[:LONGEST_CURSOR]
    try:
        raw = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        found, cursor = msgspec.json.decode(raw, type=tuple[str, str])
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadInput("invalid cursor.", code="bad-cursor") from error
    if found != order:
        raise BadInput("invalid cursor: it belongs to another list or another order.", code="bad-cursor")
    return cursor


def ordered(
    every: Iterable[Promise], place_of: Callable[[Promise], Place], *, newest_first: bool = False
) -> Reader:
    """Return a reader of a list that is sorted in this process. Its cursor is the place of the last item."""
    placed = sorted(
        ((place_of(promise), promise) for promise in every), key=itemgetter(0), reverse=newest_first
    )

    def read(size: int, cursor: str | None) -> Page:
        rest = placed
        if cursor is not None:
            try:
                end = msgspec.json.decode(cursor, type=tuple[int, int, str])
            except (ValueError, RecursionError) as error:
                raise BadInput("invalid cursor.", code="bad-cursor") from error
            rest = [one for one in placed if (one[0] < end if newest_first else one[0] > end)]
        last = to_json(rest[size - 1][0]) if len(rest) > size else None
        return Page([promise for _, promise in rest[:size]], last)

    return read
