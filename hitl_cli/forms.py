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
