"""The parts of a request that only its assignees see: `private=("details.iban", "form.salary")`. No I/O.

A part is named by a path: into the `details`, the `arguments`, or the data that its `form` asks for. A path
that leads through a list means that part of each entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from hitl_cli.client.wire import audit_of, decode, encode, headers_of
from hitl_cli.format.urls import host_of
from hitl_cli.requests.question import Instead

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.client.wire import Json, Promise, Vote
    from hitl_cli.requests.question import Question

CALLBACK = "callback"
"""The URL of a callback is a private part of each request that has one: it may have a secret in it."""

HINTS = ("default", "const", "enum", "examples")
"""Keywords of a form that reveal values."""

NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords of a form with names by its author."""


def without_private(promise: Promise, question: Question) -> Promise:
    """Return a request without the private parts of its question; the same one if it has none."""
    if not question.private:
        return promise
    value = promise.value
    if value is not None:
        headers = _without_salt(headers_of(value))
        if votes := audit_of(promise).votes:
            said = msgspec.json.encode([vote_without_private(question, vote) for vote in votes]).decode()
            headers = headers | {"hitl:votes": said}
        data = decode(value)
        if promise.state == "resolved":
            data = _data_without(question, data)
        value = encode(data, headers)
    param = encode(
        msgspec.to_builtins(question_without_private(question)), _without_salt(headers_of(promise.param))
    )
    return replace(promise, param=param, value=value)


def question_without_private(question: Question) -> Question:
    """Return a question without its private parts and anything that would reveal them."""
    paths = question.private
    arguments = _without(question.arguments, _under("arguments", paths))
    cut = arguments != question.arguments
    refused = question.refused
    if refused is not None:
        refused = replace(refused, data=_data_without(question, refused.data), why="")
    instead = question.on_deadline
    if isinstance(instead, Instead):
        instead = Instead(value=_data_without(question, instead.value))
    return replace(
        question,
        details=_without(question.details, _under("details", paths)),
        arguments=arguments,
        arguments_digest=None if cut else question.arguments_digest,
        editable=_form_without(question.editable, _under("arguments", paths)),
        form=_form_without(question.form, _under("form", paths)),
        offer=None if cut else question.offer,
        refused=refused,
        on_deadline=instead,
        callback=host_of(question.callback) if question.callback and CALLBACK in paths else question.callback,
    )


def hides_arguments(question: Question) -> bool:
    """Whether any of the arguments are private."""
    return bool(_under("arguments", question.private))


def vote_without_private(question: Question, vote: Vote) -> Vote:
    """Return a vote without the private parts of its data, and without its proof."""
    return replace(vote, data=_data_without(question, vote.data), proof=None)


def vote_record_without_private(question: Question, record: Promise) -> Promise:
    """Return the promise of a vote without the private parts of its data."""
    said = decode(record.param)
    if not isinstance(said, dict):
        return record
    said = said | {"data": _data_without(question, said.get("data"))}
    return replace(record, param=encode(said, _without_salt(headers_of(record.param))))


SALT = ("hitl:proof", "hitl:id", "hitl:start")
"""Headers to leave out, so that a guess of a private part cannot be checked against a signature, or against
the hash in an export or a receipt, which covers everything stored."""


def _without_salt(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name not in SALT}


def _data_without(question: Question, data: Json) -> Json:
    """Return the data of an approval without its private parts: of the form, or the arguments."""
    part = "form" if question.editable is None else "arguments"
    return _without(data, _under(part, question.private))


def _under(part: str, paths: Iterable[str]) -> list[list[str]]:
    """Return the keys of the paths into a part; an empty list of keys means the whole part."""
    split = (path.split(".") for path in paths)
    return [keys[1:] for keys in split if keys[0] == part]


def _without(value: Json, paths: Iterable[list[str]]) -> Json:
    """Return a JSON value without the values at some paths."""
    for keys in paths:
        value = _cut(value, keys)
    return value


def _cut(value: Json, keys: list[str]) -> Json:
    if not keys:
        return None
    if isinstance(value, list):
        return [_cut(one, keys) for one in value]
    if not isinstance(value, dict) or keys[0] not in value:
        return value
    kept = {key: inner for key, inner in value.items() if key != keys[0]}
    return kept if len(keys) == 1 else value | {keys[0]: _cut(value[keys[0]], keys[1:])}


def _form_without(form: Any, paths: Iterable[list[str]]) -> Any:
    """Return a JSON Schema without values, if any of its fields are private; all names stay."""
    return _telling_no_values(form) if any(True for _ in paths) else form


def _telling_no_values(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_telling_no_values(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _telling_no_values(one) for key, one in inner.items()}
        if name in NAMED and isinstance(inner, dict)
        else _telling_no_values(inner)
        for name, inner in schema.items()
        if name not in HINTS
    }
