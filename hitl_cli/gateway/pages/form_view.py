"""A request's form as a page shows it: controls and groups of controls, with hints from the schema.

The browser's own checks only help the user. `forms.submission.read` decides what is valid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType

from hitl_cli.forms.added_formats import LOCAL_FORMATS
from hitl_cli.forms.datetimes import without_zone
from hitl_cli.forms.fields import Group, flat, initial, placed, tree
from hitl_cli.forms.messages import FORMATS, shortened
from hitl_cli.forms.paths import path_of
from hitl_cli.forms.reading import asks_yes_or_no, label_of
from hitl_cli.forms.submission import at_first, is_missing, labels_of, opened, owner, rows_in, with_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.forms.fields import Field
    from hitl_cli.forms.messages import Problem
    from hitl_cli.forms.submission import Texts

type Shape = Literal["line", "area", "options", "select", "ticks", "fixed"]

NAME = "field:"
"""Prefix of the names of the form's controls; the path follows."""

FEW_OPTIONS = 7
"""Up to this many choices are radio buttons; more are a menu."""

LONG_TEXT = 200
"""A text that may have this many characters gets a text area."""

LONG_FORMATS = frozenset({"textarea", "multiline", "markdown"})
TYPES = {"email": "email", "uri": "url"}
DATED = {"date": "date", "time": "time", "date-time": "datetime-local"}
CLOCKS = ("time", "datetime-local")
"""Inputs without a time zone. They stay empty if they get a value that they cannot show."""

LONGEST_PATTERN = 200
REPEATED_GROUP = re.compile(r"\)[*+?{]")
"""A pattern with this could block a browser. Only the server checks such a pattern, with a time limit."""

SHORT_DEFAULT = 60
"""Characters of a default that a hint shows."""

CHOOSE = "Choose one"
NOTHING = "No answer"
"""Labels of the option for no choice."""


class _Option(Struct, frozen=True):
    """An option of a control."""

    value: str
    label: str
    chosen: bool


class _Control(Struct, frozen=True, kw_only=True):
    """One control of a form. Texts are from the author, or from the person who fills it in."""

    id: str
    name: str
    shape: Shape
    label: str
    description: str | None
    hint: str
    optional: bool
    required: bool
    problem: str | None = None
    type: str = "text"
    attributes: Mapping[str, str] = {}
    options: tuple[_Option, ...] = ()
    value: str = ""
    code: bool = False
    """Whether to show it in a monospaced font."""


class _Fieldset(Struct, frozen=True, kw_only=True):
    """A group of controls. The whole form is a group without a legend.

    `name` is set for a row of a list, which can be removed.
    """

    id: str
    legend: str | None
    description: str | None
    problem: str | None
    members: tuple[_Control | _Fieldset | _Rows, ...]
    optional: bool = False
    name: str = ""
    path: str = ""
    autofocus: bool = False


class _Rows(Struct, frozen=True, kw_only=True):
    """A list of groups of controls, to which the user can add rows."""

    id: str
    name: str
    path: str
    label: str
    description: str | None
    hint: str
    optional: bool
    problem: str | None
    rows: tuple[_Fieldset, ...]
    autofocus: bool = False


class _Wrong(Struct, frozen=True):
    """A problem for the summary: the id of its control, and the sentence."""

    at: str
    said: str


class Form(Struct, frozen=True):
    """A form to show, and the problems of what was sent.

    `yes_no` is the only control of a form that asks for yes or no; the page shows two buttons instead.
    """

    whole: _Fieldset
    wrong: tuple[_Wrong, ...] = ()
    yes_no: _Control | None = None


def drawn(
    schema: Json,
    sent: Texts | None = None,
    problems: Sequence[Problem] = (),
    rows: str = "",
    begun: Json | UnsetType = UNSET,
) -> Form:
    """Return a form with its defaults, or with what was sent and its problems.

    `rows` changes its rows first: `add items` or `remove items[0]`. `begun` is an answer to fill in instead
    of the defaults.
    """
    texts, focus = None if sent is None else opened(schema, sent), None
    if texts is not None and rows:
        texts, focus = with_rows(schema, texts, rows)
    return _Drawing(schema, texts, problems, focus, begun).form()


class _Drawing:
    def __init__(
        self,
        schema: Json,
        sent: Texts | None,
        problems: Sequence[Problem],
        focus: str | None,
        begun: Json | UnsetType,
    ) -> None:
        self._tree = tree(schema)
        self._first = at_first(schema, begun)
        self._sent = sent
        self._problems = problems
        self._focus = focus
        self._fields = list(self._every(self._tree))
        self._ids = {field.path: f"field-{number}" for number, field in enumerate(self._fields, 1)}

    def form(self) -> Form:
        root = self._tree
        members: Sequence[Field | Group] = root.members if isinstance(root, Group) else (root,)
        whole = _Fieldset(
            id="form",
            legend=None,
            description=root.description if isinstance(root, Group) else None,
            problem=None,
            members=tuple(map(self._node, members)),
        )
        asks = asks_yes_or_no(self._fields)
        return Form(whole, tuple(self._wrong()), self._control(self._fields[0]) if asks else None)

    def _every(self, node: Field | Group) -> Iterator[Field]:
        """Yield all fields, including those in rows."""
        for field in flat(node):
            yield field
            for row in self._rows_in(field):
                yield from self._every(row)

    def _rows_in(self, field: Field) -> Iterator[Group]:
        """Yield the rows of a list."""
        texts = self._first if self._sent is None else self._sent
        for number in rows_in(field.path, texts) if field.row is not None else ():
            row = placed(field.row, (*field.keys, number)) if field.row is not None else None
            assert isinstance(row, Group)
            yield row

    def _wrong(self) -> Iterator[_Wrong]:
        for problem in self._problems:
            field = owner(self._fields, problem)
            at = self._ids[field.path] if field is not None else _group_id(problem.path)
            yield _Wrong(at, _said(problem, field))

    def _node(self, node: Field | Group) -> _Control | _Fieldset | _Rows:
        if isinstance(node, Group):
            return self._fieldset(node, label_of(node))
        return self._rows(node) if node.row is not None else self._control(node)

    def _fieldset(self, group: Group, legend: str, *, is_row: bool = False) -> _Fieldset:
        path = path_of(group.keys)
        return _Fieldset(
            id=_group_id(path),
            legend=legend,
            description=group.description if not is_row else None,
            problem=next((problem.reason for problem in self._problems if problem.path == path), None),
            members=tuple(map(self._node, group.members)),
            optional=not group.needed,
            name=f"{NAME}{path}" if is_row else "",
            path=path,
            autofocus=self._focus == path,
        )

    def _rows(self, field: Field) -> _Rows:
        label = label_of(field)
        rows = enumerate(self._rows_in(field), 1)
        return _Rows(
            id=self._ids[field.path],
            name=f"{NAME}{field.path}",
            path=field.path,
            label=label,
            description=field.description,
            hint=self._hint(field, "rows"),
            optional=not field.needed,
            problem=self._problem(field),
            rows=tuple(self._fieldset(row, f"{label} {number}", is_row=True) for number, row in rows),
            autofocus=self._focus == field.path,
        )

    def _problem(self, field: Field) -> str | None:
        """Return the problems of a field itself, without those of the controls inside it."""
        wrong = [_said(one, field) for one in self._problems if owner(self._fields, one) == field]
        return "; ".join(wrong) or None

    def _control(self, field: Field) -> _Control:
        texts = self._texts(field)
        shape = "fixed" if field.read_only else _shape_of(field)
        value = "" if field.secret else "\n".join(texts)
        drawn_as = _type_of(field)
        if drawn_as in CLOCKS and value:
            shown = without_zone(value.strip(), dated=field.kind == "date-time")
            drawn_as, value = ("text", value) if shown is None else (drawn_as, shown)
        problem = self._problem(field)
        return _Control(
            id=self._ids[field.path],
            name=f"{NAME}{field.path}",
            shape=shape,
            label=label_of(field),
            description=field.description,
            hint=self._hint(field, drawn_as),
            optional=not field.required and not field.needed,
            required=is_missing(field) and shape != "ticks" and field.kind != "list",
            problem=problem,
            type=drawn_as,
            attributes=self._attributes(field, wrong=bool(problem)) if shape == "line" else {},
            options=tuple(_options(field, texts)) if shape in ("options", "select", "ticks") else (),
            value=value,
            code=field.kind == "json",
        )

    @staticmethod
    def _attributes(field: Field, *, wrong: bool) -> dict[str, str]:
        """Return the browser's checks.

        After an error any step is allowed: steps count from the wrong number.
        """
        found = _attributes(field)
        return found | {"step": "any"} if wrong and "step" in found else found

    def _texts(self, field: Field) -> Sequence[str]:
        """Return the texts to fill into a field."""
        in_row = any(
            isinstance(key, int) for key in field.keys
        )  # the default row at this index may be another one
        if self._sent is not None and (in_row or field.path in self._sent):
            return self._sent.get(field.path, [])
        return self._first.get(field.path, [])

    def _hint(self, field: Field, drawn_as: str) -> str:
        """Return a hint: what may be typed into a field, and the effect of leaving it empty."""
        if field.read_only:
            return ""
        item = field.item.hint if field.item is not None else ""
        several = "one per line" if field.kind == "list" and not labels_of(field) else ""
        as_json = "as JSON" if field.kind == "json" else ""
        plain = "" if _drawn_so(field) else field.hint
        if drawn_as in CLOCKS:
            local = field.format in LOCAL_FORMATS
            plain = plain.replace(FORMATS[field.format or field.kind], "" if local else "in UTC")
        told = [part for part in (several, as_json, plain, item) if part]
        if field.stated_default is not UNSET and field.path not in self._first and not field.secret:
            told.append(f"if left empty: {shortened(field.default, SHORT_DEFAULT)}")
        text = "; ".join(told)
        return f"{text[:1].upper()}{text[1:]}"


def _group_id(path: str) -> str:
    """Return the element id of a group; the whole form's for an empty path."""
    return f"group-{path.encode().hex()}" if path else "form"


def _said(problem: Problem, field: Field | None) -> str:
    """Return a problem as a sentence."""
    name = problem.path if field is None or field.path != problem.path else label_of(field)
    return f"{name or 'The answer'} {problem.reason}"


def _shape_of(field: Field) -> Shape:
    """Return the shape of a field's control."""
    if field.kind == "list":
        return "ticks" if labels_of(field) else "area"
    if field.kind == "boolean":
        return "options"
    if field.kind == "choice":
        return "options" if len(field.labels) <= FEW_OPTIONS else "select"
    if field.kind == "json":
        return "area"
    return "area" if field.kind == "text" and _is_long(field) and not field.secret else "line"


def _is_long(field: Field) -> bool:
    """Whether a text probably has several lines."""
    several = isinstance(field.default, str) and ("\n" in field.default or "\r" in field.default)
    return several or field.limits.get("maxLength", 0) >= LONG_TEXT or field.format in LONG_FORMATS


def _type_of(field: Field) -> str:
    """Return the type of an input."""
    if field.secret:
        return "password"
    if field.kind in ("integer", "number"):
        return "number"
    return DATED.get(field.kind) or TYPES.get(field.format or "", "text")


def _drawn_so(field: Field) -> bool:
    """Whether the type of the control already says what the hint would, such as e-mail address or date."""
    said = FORMATS.get(field.format or "", field.format)
    return _type_of(field) in ("email", "url", "date") and field.hint == said


def _attributes(field: Field) -> dict[str, str]:
    """Return the attributes for checks in the browser.

    There is no maxlength: browsers would cut pasted text silently.
    """
    if field.kind in ("integer", "number"):
        return _number_attributes(field)
    found: dict[str, str] = {"autocomplete": "new-password"} if field.secret else {}
    found |= {"inputmode": "decimal"} if field.format == "decimal" else {}
    pattern = field.limits.get("pattern")
    if (
        pattern
        and field.kind == "text"
        and len(pattern) <= LONGEST_PATTERN
        and not REPEATED_GROUP.search(pattern)
    ):
        found |= {"pattern": f".*(?:{pattern}).*", "title": field.hint}
    if field.limits.get("minLength", 0) > 0 and field.kind == "text":
        found["minlength"] = str(field.limits["minLength"])
    return found


def _number_attributes(field: Field) -> dict[str, str]:
    """Return the limits of a number.

    Browsers count steps from the minimum, so it must be a multiple of the step.
    """
    whole = field.kind == "integer"
    least, most = _bounds(field.limits, whole=whole)
    step = field.limits.get("multipleOf")
    on_step = step and (least is None or least % step == 0)
    found = {"step": str(step) if on_step else "1" if whole else "any"}
    found |= {} if least is None else {"min": str(least)}
    found |= {} if most is None else {"max": str(most)}
    return found | {"inputmode": "numeric" if whole else "decimal"}


def _bounds(limits: Mapping[str, Json], *, whole: bool) -> tuple[float | None, float | None]:
    """Return the inclusive minimum and maximum of a number."""
    least, above = limits.get("minimum"), limits.get("exclusiveMinimum")
    most, below = limits.get("maximum"), limits.get("exclusiveMaximum")
    if whole:
        lows = (None if least is None else math.ceil(least), None if above is None else math.floor(above) + 1)
        highs = (None if most is None else math.floor(most), None if below is None else math.ceil(below) - 1)
    else:
        lows, highs = (least, above), (most, below)
    return (
        max((low for low in lows if low is not None), default=None),
        min((high for high in highs if high is not None), default=None),
    )


def _options(field: Field, texts: Sequence[str]) -> Iterator[_Option]:
    """Yield the options, with one for no choice if the field may stay empty."""
    if field.kind == "boolean":
        offered = [("true", "Yes"), ("false", "No")]
    else:
        offered = [(label, label) for label in labels_of(field)]
    chosen = {text for text in texts if text}
    if name := _nothing_in(field):
        yield _Option("", name, chosen=not chosen)
    for value, label in offered:
        yield _Option(value, label, chosen=value in chosen)


def _nothing_in(field: Field) -> str | None:
    """Return the label of the option for no choice; None if there is no such option."""
    shape = _shape_of(field)
    if shape == "ticks":
        return None
    if field.nullable or (not field.required and field.default is UNSET and field.kind != "boolean"):
        return field.nothing or NOTHING
    return CHOOSE if shape == "select" and initial(field) is UNSET else None
