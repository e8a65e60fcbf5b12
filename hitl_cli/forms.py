"""Forms: what the data of an answer must be."""

from __future__ import annotations

from typing import Any

import msgspec


def check(schema: object, data: object) -> None:
    """Raise BadInput if data does not fit."""


def schema_of(form: Any) -> dict[str, Any]:
    """Return the JSON Schema of a form."""
    return form if isinstance(form, dict) else msgspec.json.schema(form)


def as_form_type(form: Any, data: Any) -> Any:
    """Return the data as the form's type."""
    return data if isinstance(form, dict) else msgspec.convert(data, form)


def fill(schema: Any, assignments: Any) -> Any:
    """Return the data."""
    return dict(assignments)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What is filled in at one place."""

    path: str
    kind: str
    required: bool
    title: str | None = None
    description: str | None = None
    default: Any = msgspec.UNSET
    labels: tuple[str, ...] = ()
    hint: str = ""
    item: Field | None = None


def fields(schema: Any) -> list[Field]:
    """Return what a person fills in."""
    if not isinstance(schema, dict) or "properties" not in schema:
        return [Field(path="", kind="json", required=True)]
    needed = schema.get("required", [])
    return [
        Field(
            path=name,
            kind=str(inner.get("type", "json")).replace("string", "text"),
            required=name in needed,
            default=inner.get("default", msgspec.UNSET),
        )
        for name, inner in schema["properties"].items()
    ]
