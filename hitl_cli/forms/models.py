"""Forms that are types: their JSON Schema, and the answer as an instance of the type."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.errors import BadInput, DoesNotFit
from hitl_cli.forms.checking import bad_form, check_schema
from hitl_cli.forms.exact_schema import msgspec_schema, pydantic_schema
from hitl_cli.forms.messages import TOLD
from hitl_cli.forms.paths import path_of
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json


_OWN = re.compile(r"^(Value error|Assertion failed), ")
"""pydantic's prefix for the message of a validator."""

MAX_EXACT = 2**53
"""Largest integer that is exact as a float."""


def schema_of(form: Any) -> dict[str, Json] | bool:
    """Return the JSON Schema of a form, checked.

    `form` is a JSON Schema, or a type: a msgspec Struct, a dataclass, a TypedDict, a pydantic model, or any
    other that msgspec supports (int, Literal, Enum, Annotated, …). Raises BadInput for anything else.
    """
    if form is None:
        raise bad_form("None is not a form: leave out `form` if the request needs none.")
    if isinstance(form, dict | bool):
        schema: dict[str, Json] | bool = form
    else:
        try:
            adapter = _pydantic_adapter(form)
            schema = _unwrapped(msgspec_schema(form) if adapter is None else pydantic_schema(adapter))
        except (TypeError, ValueError, RuntimeError, NameError) as error:
            raise bad_form(
                f"{form!r} is not a form: give a JSON Schema, a msgspec Struct, a dataclass or a pydantic"
                f" model ({error})."
            ) from error
    check_schema(schema)
    return schema


def as_form_type(form: Any, data: Json) -> Any:
    """Return the data as an instance of the author's type; unchanged if the form is a JSON Schema.

    It is converted from JSON: a date from its text, a tuple from a list. Raises BadInput with the reason.
    """
    try:
        return _as_type(form, data)
    except _UNFIT as error:
        raise BadInput(
            f"the answer does not fit: {_told(error)}. Nothing was changed.", code=DoesNotFit.code
        ) from error


def why_unfit(form: Any, data: Json) -> str | None:
    """Return why the author's type refuses the data; None if it accepts it."""
    try:
        _as_type(form, data)
    except _UNFIT as error:
        return _told(error)
    return None


_UNFIT = (ValueError, TypeError, OverflowError, RecursionError)


def _as_type(form: Any, data: Json) -> Any:
    if isinstance(form, dict | bool):
        return data
    adapter = _pydantic_adapter(form)
    if adapter is None:
        return msgspec.json.decode(msgspec.json.encode(_whole(data)), type=inspected(form))
    return adapter.validate_json(msgspec.json.encode(data))


def _whole(data: Json) -> Json:
    """Return the data with 1.0 as 1: JSON Schema accepts 1.0 as an integer, msgspec does not."""
    match data:
        case float() if data.is_integer() and abs(data) <= MAX_EXACT:
            return int(data)
        case dict():
            return {name: _whole(value) for name, value in data.items()}
        case list():
            return [_whole(value) for value in data]
    return data


def _told(error: Exception) -> str:
    """Return a library's reason why data does not fit, on one line, path first."""
    if hasattr(error, "errors"):  # pydantic
        told = [(path_of(one["loc"]), one["msg"]) for one in error.errors()[:TOLD]]
        return "; ".join(f"{path} {_OWN.sub('', said)}".strip() for path, said in told)
    reason, _, path = str(error).partition(" - at `$")
    return f"{path.rstrip('`').removeprefix('.')} {reason[:1].lower()}{reason[1:]}".strip()


def _pydantic_adapter(form: Any) -> Any:
    """Return an adapter for a pydantic model; None for another form.

    pydantic is optional, so it is not imported here: the author's pydantic model has already imported it.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(form, type) or not hasattr(form, "__pydantic_validator__"):
        return None
    return pydantic.TypeAdapter(form)


def _unwrapped(schema: dict[str, Json]) -> dict[str, Json]:
    """Return a schema that is only a reference to its own definition as that definition, where possible."""
    reference = schema.get("$ref")
    definitions = schema.get("$defs", {})
    name = str(reference).removeprefix("#/$defs/")
    if name not in definitions or set(schema) != {"$ref", "$defs"}:
        return schema
    others = {other: definition for other, definition in definitions.items() if other != name}
    inlined = {**definitions[name], **({"$defs": others} if others else {})}
    return schema if f'"{reference}"'.encode() in msgspec.json.encode(inlined) else inlined
