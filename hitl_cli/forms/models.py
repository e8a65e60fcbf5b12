"""A form that its author gives as a type: the JSON Schema of it, and an answer as an instance of it."""

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

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json


_OWN = re.compile(r"^(Value error|Assertion failed), ")
"""What pydantic says before the words of a validator."""

MAX_EXACT = 2**53
"""Up to here every integer is a float too."""


def schema_of(form: Any) -> dict[str, Json] | bool:
    """Return the JSON Schema of a form, checked.

    `form` is a JSON Schema as it is, or a type: a msgspec Struct, a dataclass, a TypedDict, a pydantic model,
    or what else msgspec understands (int, Literal, Enum, Annotated, …). Raises BadInput for anything else.
    """
    if form is None:
        raise bad_form("None is no form: leave the form out where none is wanted.")
    if isinstance(form, dict | bool):
        schema: dict[str, Json] | bool = form
    else:
        try:
            adapter = _pydantic_adapter(form)
            schema = _unwrapped(msgspec_schema(form) if adapter is None else pydantic_schema(adapter))
        except (TypeError, ValueError, RuntimeError, NameError) as error:
            raise bad_form(
                f"{form!r} is no form: give a JSON Schema, a msgspec Struct, a dataclass or a pydantic model"
                f" ({error})."
            ) from error
    check_schema(schema)
    return schema


def as_form_type(form: Any, data: Json) -> Any:
    """Return the data as an instance of the author's type; as it is, if the form is a JSON Schema.

    It is read as JSON is: a date from its text, a list for a tuple. Raises BadInput with the reason.
    """
    try:
        return _as_type(form, data)
    except _UNFIT as error:
        raise BadInput(
            f"the answer does not fit: {_told(error)}. Nothing was changed.", code=DoesNotFit.code
        ) from error


def why_unfit(form: Any, data: Json) -> str | None:
    """Return why the author's type refuses the data, None where it takes it."""
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
        return msgspec.json.decode(msgspec.json.encode(_whole(data)), type=form)
    return adapter.validate_json(msgspec.json.encode(data))


def _whole(data: Json) -> Json:
    """Return the data with 1.0 as 1: to JSON Schema that is an integer, to msgspec it is none."""
    match data:
        case float() if data.is_integer() and abs(data) <= MAX_EXACT:
            return int(data)
        case dict():
            return {name: _whole(value) for name, value in data.items()}
        case list():
            return [_whole(value) for value in data]
    return data


def _told(error: Exception) -> str:
    """Return what a library says of data that does not fit, in one line, path first."""
    if hasattr(error, "errors"):  # pydantic
        told = [(path_of(one["loc"]), one["msg"]) for one in error.errors()[:TOLD]]
        return "; ".join(f"{path} {_OWN.sub('', said)}".strip() for path, said in told)
    reason, _, path = str(error).partition(" - at `$")
    return f"{path.rstrip('`').removeprefix('.')} {reason[:1].lower()}{reason[1:]}".strip()


def _pydantic_adapter(form: Any) -> Any:
    """Return what reads and describes a model of pydantic, None if it is none.

    pydantic is not needed for anything else, so it is not imported: who has a model of it has done that.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(form, type) or not hasattr(form, "__pydantic_validator__"):
        return None
    return pydantic.TypeAdapter(form)


def _unwrapped(schema: dict[str, Json]) -> dict[str, Json]:
    """Return a schema that only refers to its own definition as that, unless it is needed elsewhere."""
    reference = schema.get("$ref")
    definitions = schema.get("$defs", {})
    name = str(reference).removeprefix("#/$defs/")
    if name not in definitions or set(schema) != {"$ref", "$defs"}:
        return schema
    others = {other: definition for other, definition in definitions.items() if other != name}
    inlined = {**definitions[name], **({"$defs": others} if others else {})}
    return schema if f'"{reference}"'.encode() in msgspec.json.encode(inlined) else inlined
