"""A form on a web page: the initial texts of its fields, and the answer from the texts that are sent.

A page sends every field, including untouched ones: an empty text means that nothing is given. A field that
had an initial value and is sent empty was cleared, and does not get its default again. In a form that changes
arguments, a field that is sent unchanged keeps its value exactly, although browsers rewrite line breaks and
times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json, same_json
from hitl_cli.errors import BadInput
from hitl_cli.format.json import to_json
from hitl_cli.format.validation import within
from hitl_cli.forms.checking import overlap, problems, problems_at
from hitl_cli.forms.datetimes import without_zone
from hitl_cli.forms.fields import EDITABLE, flat, tree
from hitl_cli.forms.messages import Problem
from hitl_cli.forms.parsing import fill, fill_tree, named, parse_all, parsed_json
from hitl_cli.forms.paths import row_in, value_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitl_cli.forms.fields import Field, Group

type Texts = Mapping[str, Sequence[str]]
"""The texts that a browser sends, by path; several for checkboxes."""


class _Submission(Struct, frozen=True, kw_only=True):
    """The result of a submission: the data, and its problems, if any."""

    data: Json
    problems: tuple[Problem, ...] = ()


def at_first(schema: Json, begun: Json | UnsetType = UNSET) -> dict[str, list[str]]:
    """Return the initial texts of a page, by path.

    A secret is never shown. A row exists because its own path does, even if it is empty. `begun` is an
    answer to use instead of the defaults. Raises BadInput if the form is not valid.
    """
    return _begun(tree(schema), fill(schema, []) if begun is UNSET else begun)


def _begun(form: Field | Group, made: Json | UnsetType) -> dict[str, list[str]]:
    """Return the same for a form or a row with an initial value."""
    begun: dict[str, list[str]] = {}
    for field in flat(form):
        value = value_at(made, field.keys)
        if field.secret or value is UNSET or (value is None and None not in field.choices):
            continue
        if field.row is None or not isinstance(value, list):
            begun[field.path] = _written(field, value)
            continue
        for number, row in enumerate(value):
            begun |= {field.path: [""]} | _row_texts(field.row, f"{field.path}[{number}]", row)
    return begun


def read(schema: Json, sent: Texts) -> _Submission:
    """Return the checked result of the texts that a page sent.

    Raises BadInput if the form is not valid or has no such field.
    """
    made = _read(schema, tree(schema), sent)
    if made.problems:
        return made
    return _Submission(data=made.data, problems=tuple(problems(schema, made.data)))


def _read(schema: Json, form: Field | Group, sent: Texts) -> _Submission:
    """Return the result of the texts of a form or a row, with problems for texts that cannot be read."""
    begun = _begun(form, fill_tree(form, []))
    known = [field for field in flat(form) if not field.read_only]
    rows = [field.path for field in known if field.row is not None]
    paths = {field.path for field in flat(form)}
    unknown = [path for path in sent if path not in paths and not any(row_in(path, one) for one in rows)]
    given = [(path, text) for path in unknown for text in sent[path]]
    keeps = isinstance(schema, dict) and EDITABLE in schema
    left_out: list[Field] = []
    wrong: list[Problem] = []
    whole = True
    for field in known:
        if keeps and _is_untouched(field, begun, sent):
            continue
        texts, unread = _read_field(schema, field, sent)
        if not texts and not unread and field.path in sent:
            texts = _emptied(field, begun=field.path in begun)
            left_out += [field] if not texts and field.path in begun else []
        if not unread and (why := _unreadable(field, texts)) is not None:
            unread = [Problem(field.path, why)]
        if unread:
            wrong += unread
            whole = False
        elif texts:
            wrong += _problems_in(schema, field, parse_all(field, texts))
        given += [(field.path, text) for text in texts]
    if not whole:
        return _Submission(data=None, problems=tuple(wrong))
    data = fill_tree(form, given)
    for field in left_out:
        data = _without(data, field.keys)
    return _Submission(data=None if data is UNSET else data)


def _is_untouched(field: Field, begun: Texts, sent: Texts) -> bool:
    """Whether a field that had an initial value is sent unchanged."""
    if field.path not in begun or field.path not in sent:
        return False
    if field.row is None:
        return _as_sent(field, begun[field.path]) == _as_sent(field, sent[field.path])
    same_rows = rows_in(field.path, begun) == rows_in(field.path, sent)
    return same_rows and _row_lines(field, begun) == _row_lines(field, sent)


def _row_lines(field: Field, texts: Texts) -> dict[str, list[str]]:
    """Return the texts of a list's rows by path, without those that are empty."""
    inner = {path: said for path, said in texts.items() if row_in(path, field.path)}
    lines = {path: [_plain_breaks(text) for text in said if text] for path, said in inner.items()}
    return {path: said for path, said in lines.items() if said}


def _as_sent(field: Field, texts: Sequence[str]) -> list[str]:
    """Return the texts of a field as a browser sends them: a time without its zone."""
    said = _said(field, texts)
    if field.kind in ("time", "date-time"):
        dated = field.kind == "date-time"
        return [without_zone(text.strip(), dated=dated) or text for text in said]
    return said


def _read_field(schema: Json, field: Field, sent: Texts) -> tuple[list[str], list[Problem]]:
    """Return the texts of a field that are not empty, those of rows as JSON, and the problems in its rows."""
    numbers = rows_in(field.path, sent) if field.row is not None else []
    if field.row is None or not numbers:
        return _said(field, sent.get(field.path, ())), []
    made: list[Json] = []
    wrong: list[Problem] = []
    for number in numbers:
        inner = {
            found[1]: texts
            for path, texts in sent.items()
            if (found := row_in(path, field.path)) is not None and found[0] == number and found[1]
        }
        row = _read(schema, field.row, inner)
        made.append(row.data)
        at = f"{field.path}[{number}]"
        wrong += [msgspec.structs.replace(one, path=within(at, one.path)) for one in row.problems]
    return [to_json(made)], wrong


def opened(schema: Json, sent: Texts) -> Texts:
    """Return the texts with rows that were sent as JSON split into a text for each field."""
    found: dict[str, Sequence[str]] = dict(sent)
    for field in flat(tree(schema)):
        text = "".join(sent.get(field.path, ()))
        if field.row is not None and isinstance(rows := parsed_json(text), list):
            found |= {field.path: [""]} | {
                path: texts
                for number, row in enumerate(rows)
                for path, texts in _row_texts(field.row, f"{field.path}[{number}]", row).items()
            }
    return found


def _row_texts(row: Group, at: str, value: Json | UnsetType) -> dict[str, list[str]]:
    """Return the texts of a row: one that marks it as existing, and those of its fields."""
    return {at: [""]} | {within(at, path): texts for path, texts in _begun(row, value).items()}


def row_texts(row: Group, value: Json) -> dict[str, list[str]]:
    """Return the texts of a row's fields, as a person types them; a list is JSON."""
    found: dict[str, list[str]] = {}
    for field in flat(row):
        at = value_at(value, field.keys)
        if at is not UNSET and at is not None:
            is_list = field.kind in ("list", "rows")
            found[field.path] = [to_json(at)] if is_list else _written(field, at)
    return found


def rows_in(path: str, texts: Iterable[str]) -> list[int]:
    """Return the numbers of the rows of a list that have texts, in order."""
    return sorted({found[0] for one in texts if (found := row_in(one, path)) is not None})


def with_rows(schema: Json, texts: Texts, said: str) -> tuple[Texts, str | None]:
    """Return texts with a row added (`add items`) or removed (`remove items[0]`), and the path to focus."""
    verb, _, path = said.partition(" ")
    if verb == "remove":
        return _without_row(texts, path), path.rpartition("[")[0]
    row = _row_at(tree(schema), path)
    if verb != "add" or row is None:
        return texts, None
    at = f"{path}[{max(rows_in(path, texts), default=-1) + 1}]"
    return {**texts, **_row_texts(row, at, fill_tree(row, []))}, at


def _row_at(form: Field | Group, path: str) -> Group | None:
    """Return the row of the list at a path; None if there is no such list."""
    for field in flat(form):
        if field.path == path:
            return field.row
        found = None if field.row is None else row_in(path, field.path)
        if found is not None and field.row is not None:
            return _row_at(field.row, found[1])
    return None


def _without_row(texts: Texts, at: str) -> Texts:
    """Return texts without a row; the rows after it move up."""
    path = at.rpartition("[")[0]
    gone = row_in(at, path)
    kept: dict[str, Sequence[str]] = {}
    for one, sent in texts.items():
        found = row_in(one, path)
        if gone is None or found is None or found[0] < gone[0]:
            kept[one] = sent
        elif found[0] > gone[0]:
            kept[within(f"{path}[{found[0] - 1}]", found[1])] = sent
    return kept


def _problems_in(schema: Json, field: Field, value: Json) -> list[Problem]:
    """Return the problems of one field's value, regardless of other fields."""
    return [
        Problem(within(field.path, problem.path), problem.reason)
        for problem in problems_at(schema, field.pointers, value)
    ]


def owner(known: Iterable[Field], problem: Problem) -> Field | None:
    """Return the field that a problem belongs to; None if it belongs to no single field."""
    around = [
        field for field in known if overlap(field.path, problem.path) and len(field.path) <= len(problem.path)
    ]
    return max(around, key=lambda field: len(field.path), default=None)


def labels_of(field: Field) -> tuple[str, ...]:
    """Return the choices that a field offers; empty if its value is typed."""
    return field.labels or (field.item.labels if field.item is not None else ())


def is_missing(field: Field) -> bool:
    """Whether an empty field makes the answer incomplete."""
    return (
        not field.read_only
        and field.required
        and field.default is UNSET
        and not field.nullable
        and len(field.choices) != 1
    )


def _said(field: Field, texts: Sequence[str]) -> list[str]:
    """Return the texts of a field that are not empty; of a list, its lines."""
    plain = [_plain_breaks(text) for text in texts]
    labels = labels_of(field)
    if labels:
        called = {_plain_breaks(label): label for label in reversed(labels)}
        plain = [called.get(text, text) for text in plain]
    elif field.kind == "list":
        plain = [line for text in plain for line in _lines(text)]
    return [text for text in plain if text]


def _lines(text: str) -> list[str]:
    """Return the lines of a list that are not empty. A JSON array may span several lines."""
    if isinstance(parsed_json(text), list):
        return [text]
    return [line for line in text.split("\n") if line.strip()]


def _plain_breaks(text: str) -> str:
    """Return a text with plain line breaks: browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _emptied(field: Field, *, begun: bool) -> list[str]:
    """Return the texts that an emptied field means; none if it is left out of the answer."""
    if field.kind in ("list", "rows") and (field.required or field.default == [] or (begun and field.needed)):
        return ["[]"]
    if begun and field.kind == "text" and field.needed:
        return [""]
    return ["null"] if begun and field.nullable and field.kind not in ("text", "list", "rows") else []


def _unreadable(field: Field, texts: list[str]) -> str | None:
    """Return why texts are not a value of a field, to follow its name, or None."""
    if not texts:
        return "is required" if is_missing(field) else None
    try:
        parse_all(field, texts)
    except BadInput as refused:
        return str(refused).removeprefix(named(field)).strip().removesuffix(".")
    return None


def _written(field: Field, value: Json) -> list[str]:
    """Return the texts that a page shows for a value: one for each entry of a list, or JSON."""
    if value == []:
        return []
    if field.kind == "list" and field.item is not None and isinstance(value, list):
        texts = [_one_text(field.item, entry) for entry in value]
        if labels_of(field) or all(text.strip() and "\n" not in text for text in texts):
            return texts
    return [_one_text(field, value)]


def _one_text(field: Field, value: Json) -> str:
    """Return a value as a person types it, or its label."""
    for choice, label in zip(field.choices, field.labels, strict=True):
        if same_json(choice, value):
            return label
    if isinstance(value, str) and field.kind in ("text", "date", "time", "date-time"):
        return value
    return to_json(value)


def _without(data: Json | UnsetType, keys: Sequence[str | int]) -> Json | UnsetType:
    """Return the data without the value at a place."""
    if not keys or not isinstance(data, dict) or keys[0] not in data:
        return data
    rest = {name: value for name, value in data.items() if name != keys[0]}
    return rest if len(keys) == 1 else {**data, keys[0]: _without(data[keys[0]], keys[1:])}
