"""Makes a document from a record that has the same fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from msgspec import Struct

_INSTANTS = ("at", "since", "until", "deadline", "again")
"""Fields with an instant, beside those whose name ends in `_at`."""


def document_of[D: Struct](kind: type[D], record: Struct, **more: Any) -> D:
    """Return a document with the fields of a record that have the same names; its instants are texts.

    `more` are fields that the record lacks, or that have another form.
    """
    for name in kind.__struct_fields__:
        if name not in more and hasattr(record, name):
            value = getattr(record, name)
            is_instant = type(value) is int and (name in _INSTANTS or name.endswith("_at"))
            more[name] = iso(value) if is_instant else value
    return kind(**more)
