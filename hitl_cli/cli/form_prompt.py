"""A form, asked field by field on a terminal.

All output goes to stderr, because stdout carries a command's result. On a terminal that can only print
(TERM=dumb) each field is a plain line of input, asked again until it is valid.
"""

from __future__ import annotations

import sys
from getpass import getpass
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET
from prompt_toolkit import print_formatted_text
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Always
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.layout import Dimension
from prompt_toolkit.output import create_output
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.utils import is_dumb_terminal
from prompt_toolkit.validation import ValidationError, Validator
from prompt_toolkit.widgets import ValidationToolbar

from hitl_cli.cli.output import note
from hitl_cli.client.wire import same_json
from hitl_cli.errors import BadInput, NotDone
from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import printable
from hitl_cli.format.validation import within
from hitl_cli.forms import fields, fill, parse_field, problems, problems_at
from hitl_cli.forms.fields import EDITABLE, flat, initial, tree
from hitl_cli.forms.messages import sentence, shortened
from hitl_cli.forms.parsing import fill_tree
from hitl_cli.forms.paths import row_in, value_at
from hitl_cli.forms.reading import differences
from hitl_cli.forms.submission import at_first, is_missing, row_texts
from hitl_cli.requests.editable import changes, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prompt_toolkit.document import Document

    from hitl_cli.client.wire import Json
    from hitl_cli.forms import Field
    from hitl_cli.forms.fields import Group

KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "json": "JSON",
}

MENU_LINES = 6
"""Lines reserved for completions below the prompt."""

SHORT = 60
"""Width of a value that is shown again, in columns."""


def fill_in(
    schema: Json,
    *,
    title: str = "",
    start: Sequence[tuple[str, str]] = (),
    others: Sequence[tuple[str, Json]] = (),
) -> Json:
    """Ask for a form field by field, and return the data that the person confirmed.

    Fields in `start` (as for `fill`) are not asked. `others` is the data of other approvals, by person;
    differences are shown before sending. Stdin and stderr must be a terminal. Raises BadInput for an
    invalid form or start, NotDone if the person cancels (Ctrl-C).
    """
    try:
        return _Form(schema, title, start, others).answer()
    except (KeyboardInterrupt, EOFError) as end:
        raise NotDone("canceled; nothing was changed.") from end


class _Form:
    """A form that is being filled in, and the texts typed so far."""

    def __init__(
        self,
        schema: Json,
        title: str,
        start: Sequence[tuple[str, str]],
        others: Sequence[tuple[str, Json]],
    ) -> None:
        fill(schema, start)
        problems(schema, None)  # an invalid form is refused before anything is asked
        self._schema = schema
        self._title = title
        self._others = others
        self._node = tree(schema)
        self._changes = isinstance(schema, dict) and EDITABLE in schema
        self._begun = at_first(schema) if self._changes else {}
        self._fields = {field.path: field for field in fields(schema)}
        self._texts: dict[str, list[str]] = {}
        for path, text in start:
            self._texts.setdefault(path, []).append(text)
        self._terminal = _Terminal()
        self._within = ""

    def answer(self) -> Json:
        """Ask for the missing fields, show the result, and let it be changed until the person sends it."""
        if self._title:
            self._terminal.say(self._title, "bold")
        self._terminal.say("Nothing is sent until you confirm. Ctrl-C cancels.")
        for field in () if self._changes else self._fields.values():
            rows = any(row_in(path, field.path) for path in self._texts)
            if field.path not in self._texts and not _is_settled(field) and not rows:
                self._ask(field)
        while True:
            made = fill(self._schema, self._given())
            self._show(made)
            for one in differences(self._schema, [*self._others, ("you", made)]) if self._others else ():
                self._terminal.say(f"! differs from other votes: {one.sentence}", "ansired")
            for change in changes(self._schema["default"], made) if self._changes else ():
                for line in [f"! changed {change.sentence}", *(change.diff or [])]:
                    self._terminal.say(line, "ansiyellow")
            wrong = problems(self._schema, made)
            for problem in wrong:
                self._terminal.say(f"! {sentence(problem)}", "ansired")
            if self._decided(may_send=not wrong):
                return made

    def _decided(self, *, may_send: bool) -> bool:
        """Ask whether to send or change the answer; True to send it. Raises NotDone for neither."""
        paths = [path for path, field in self._fields.items() if not field.read_only]
        offers = ["yes"] * may_send + ["change a field"] * bool(paths) + ["no"]
        chosen = self._pick("Send it" if may_send else "Not valid yet", offers)
        if chosen == "no":
            raise NotDone("canceled; nothing was changed.")
        if chosen == "yes":
            return True
        self._ask(self._fields[paths[0] if len(paths) == 1 else self._pick("Which field", paths)])
        return False

    def _pick(self, asked: str, offers: Sequence[str]) -> str:
        """Return the offer that is typed, in full or by its beginning."""
        named = ", ".join(offers)
        text = self._terminal.read(
            f"{asked} ({named})",
            lambda text: None if _meant(text, offers) else f"must be one of {named}",
            words=offers,
        )
        return str(_meant(text, offers))

    def _ask(self, field: Field) -> None:
        """Ask for a field; an empty line leaves its default."""
        self._terminal.say("")
        self._terminal.say(_heading(field, self._path(field)), "bold")
        if field.description:
            self._terminal.say(field.description)
        told = "; ".join(part for part in (_expected(field), _if_empty(field)) if part)
        if told:
            self._terminal.say(told)
        numbers = _numbering(field)
        for label in field.labels:
            self._terminal.say(f"  {numbers[label]}) {label}" if label in numbers else f"  - {label}")
        if field.nothing:
            self._terminal.say(f"  - {field.nothing}")
        read = {"list": self._read_list, "rows": self._read_rows}.get(field.kind, self._read_one)
        texts = read(field)
        if texts is None:
            self._texts.pop(field.path, None)
        else:
            self._texts = {path: said for path, said in self._texts.items() if not row_in(path, field.path)}
            self._texts[field.path] = texts

    def _path(self, field: Field) -> str:
        """Return the path of a field in the whole answer."""
        return within(self._within, field.path)

    def _read_one(self, field: Field) -> list[str] | None:
        labels = {number: label for label, number in _numbering(field).items()}
        path = self._path(field)
        missing = f"{path or 'an answer'} is required" if is_missing(field) else None

        def wrong(text: str) -> str | None:
            return self._wrong(field, labels.get(text.strip(), text)) if text else missing

        words = [*field.labels, *([field.nothing] if field.nothing else [])] or (
            ["yes", "no"] if field.kind == "boolean" else []
        )
        before = "".join((self._texts.get(field.path) or self._begun.get(field.path, []))[:1])
        text = self._terminal.read(path or "answer", wrong, words=words, before=before, secret=field.secret)
        return [labels.get(text.strip(), text)] if text else None

    def _read_list(self, field: Field) -> list[str] | None:
        """Read a list, one entry per line until an empty line; start over if it is not valid."""
        while True:
            entries = self._entries(field)
            if not entries and not is_missing(field):
                return None
            reasons = problems_at(self._schema, field.pointers, entries)
            if not reasons:
                return [msgspec.json.encode(entries).decode()]
            for problem in reasons:
                self._terminal.say(f"! it {problem.reason}: enter the list again", "ansired")

    def _entries(self, field: Field) -> list[Json]:
        assert field.item is not None
        item = field.item
        entries: list[Json] = []
        while True:
            text = self._terminal.read(
                f"{self._path(field)}[{len(entries)}]",
                lambda text: self._wrong(item, text) if text else None,
                words=item.labels,
                secret=field.secret,
            )
            if not text:
                return entries
            entries.append(parse_field(item, text))

    def _read_rows(self, field: Field) -> list[str] | None:
        """Add, change and remove rows until the person is done and they are valid."""
        assert field.row is not None
        before = value_at(fill_tree(self._node, self._given()), field.keys)
        rows: list[Json] = [*before] if isinstance(before, list) else []
        path = self._path(field)
        while True:
            for number, row in enumerate(rows, 1):
                told = "; ".join(f"{name} {shown}" for name, shown in _lines(flat(field.row), row))
                self._terminal.say(f"  {number}) {told}")
            verb = self._pick(path or "answer", ["add", *["change", "remove"] * bool(rows), "done"])
            if verb == "done":
                wrong = problems_at(self._schema, field.pointers, rows)
                for problem in wrong:
                    self._terminal.say(f"! {within(path, problem.path)} {problem.reason}", "ansired")
                if not wrong:
                    return [to_json(rows)] if rows or is_missing(field) or before is not UNSET else None
            elif verb == "add":
                rows.append(self._row(field.row, f"{path}[{len(rows)}]", {}))
            else:
                numbers = [str(number) for number in range(1, len(rows) + 1)]
                at = int(numbers[0] if len(rows) == 1 else self._pick("Which row", numbers)) - 1
                if verb == "remove":
                    del rows[at]
                else:
                    rows[at] = self._row(field.row, f"{path}[{at}]", row_texts(field.row, rows[at]))

    def _row(self, row: Group, path: str, texts: dict[str, list[str]]) -> Json:
        return _Row(self._schema, self._terminal, row, path, texts).filled()

    def _given(self) -> list[tuple[str, str]]:
        return [(path, text) for path, texts in self._texts.items() for text in texts]

    def _wrong(self, field: Field, text: str) -> str | None:
        """Return why a text is not valid for a field, or None."""
        try:
            value = parse_field(field, text)
        except BadInput as refused:
            return str(refused)
        found = problems_at(self._schema, field.pointers, value)
        return "; ".join(f"{problem.path} {problem.reason}".strip() for problem in found) or None

    def _show(self, made: Json) -> None:
        """Show the whole answer, one field per line."""
        self._terminal.say("")
        shown = leaves(made) if self._changes else _lines(self._fields.values(), made)
        for path, text in shown:
            self._terminal.say(f"{path or 'answer'}: {text}")


class _Row(_Form):
    """A row of a form that is being filled in, and its values so far."""

    def __init__(
        self, schema: Json, terminal: _Terminal, row: Group, path: str, texts: dict[str, list[str]]
    ) -> None:
        self._schema = schema
        self._terminal = terminal
        self._node = row
        self._fields = {field.path: field for field in flat(row)}
        self._changes, self._begun = False, {}
        self._texts = texts
        self._within = path

    def filled(self) -> Json:
        """Ask for each field, and return the row."""
        for field in self._fields.values():
            if not _is_settled(field):
                self._ask(field)
        return fill_tree(self._node, self._given())


def _lines(known: Iterable[Field], made: Json, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and value of each field, including the fields of each row."""
    for field in known:
        value = value_at(made, field.keys)
        path = within(where, field.path)
        if field.row is None or not isinstance(value, list) or not value:
            yield path, "-" if value is UNSET else _shown(value, field)
            continue
        for number, row in enumerate(value):
            yield from _lines(flat(field.row), row, f"{path}[{number}]")


def _is_settled(field: Field) -> bool:
    """Whether only one value is valid, so that the field need not be asked."""
    return field.read_only or (field.needed and len(field.choices) == 1 and initial(field) is not None)


class _Terminal:
    """The terminal that a person reads and types on."""

    def __init__(self) -> None:
        self._session: PromptSession[str] | None = None
        if not is_dumb_terminal():
            self._session = PromptSession(output=create_output(stdout=sys.stderr))
            _wrap_reasons(self._session)

    def say(self, text: str, style: str = "") -> None:
        """Show a line."""
        if self._session is None or not style:
            note(text)
        else:
            print_formatted_text(FormattedText([(style, printable(text))]), output=self._session.output)

    def read(
        self,
        name: str,
        wrong: Callable[[str], str | None],
        *,
        words: Sequence[str] = (),
        before: str = "",
        secret: bool = False,
    ) -> str:
        """Return a line for which `wrong` returns None; its reason is shown while typing if the terminal can.

        `words` are offered as completions; `before` is the initial text. Raises EOFError and
        KeyboardInterrupt.
        """
        message = f"{printable(name)}: "
        if self._session is not None:
            return self._session.prompt(
                message,
                default=before,
                is_password=secret,
                completer=WordCompleter(
                    list(words),
                    ignore_case=True,
                    sentence=True,
                    display_dict={word: printable(word) for word in words},
                ),
                reserve_space_for_menu=MENU_LINES if words else 0,
                validator=_Reason(wrong),
                validate_while_typing=True,
            )
        while True:
            line = _plain_line(message, secret=secret)
            reason = wrong(line)
            if reason is None:
                return line
            note(f"! {reason}")


def _wrap_reasons(session: PromptSession[str]) -> None:
    """Wrap the reason below a prompt, which prompt_toolkit cuts at the edge of the terminal."""
    for window in session.layout.find_all_windows():
        text = getattr(window.content, "text", None)
        if getattr(text, "__qualname__", "").startswith(ValidationToolbar.__name__):
            window.wrap_lines = window.dont_extend_height = Always()
            window.height = Dimension(min=1)


def _plain_line(message: str, *, secret: bool) -> str:
    """Return a line typed on a terminal that can only print. Raises EOFError."""
    if secret:
        return getpass(message, stream=sys.stderr)
    print(message, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


class _Reason(Validator):
    """Shows why a line is not valid."""

    def __init__(self, wrong: Callable[[str], str | None]) -> None:
        self._wrong = wrong

    def validate(self, document: Document) -> None:
        reason = self._wrong(document.text)
        if reason is not None:
            raise ValidationError(len(document.text), printable(reason))


def _numbering(field: Field) -> dict[str, str]:
    """Return a number for each label; empty if a label is itself a number."""
    if any(label.strip().isdecimal() for label in field.labels):
        return {}
    return {label: str(number) for number, label in enumerate(field.labels, 1)}


def _heading(field: Field, path: str) -> str:
    """Return the title of a field, and its path if that differs."""
    if field.title and path and field.title.lower() != path.lower():
        return f"{field.title} ({path})"
    return field.title or path or "The answer"


def _expected(field: Field) -> str:
    """Return what may be typed."""
    if field.kind == "list" and field.item is not None:
        several = ["one per line, an empty line ends the list", field.hint, _expected(field.item)]
        return "; ".join(part for part in several if part)
    return ", ".join(part for part in (KINDS.get(field.kind, ""), field.hint) if part)


def _if_empty(field: Field) -> str:
    """Return the effect of an empty line."""
    if field.stated_default is not UNSET:
        return f"if empty: {_shown(field.default, field)}"
    if field.default is not UNSET or not field.needed:
        return "may be left empty"
    return f"if empty: {field.nothing or 'null'}" if field.nullable else ""


def _shown(value: Json, field: Field) -> str:
    """Return the label or text of a value; dots if it is secret."""
    for choice, label in zip(field.choices, field.labels, strict=True):
        if same_json(choice, value):
            return shortened(label, SHORT)
    return "••••" if field.secret else shortened(value, SHORT)


def _meant(text: str, offers: Sequence[str]) -> str | None:
    """Return the offer that equals a text, or the only one that begins with it."""
    typed = text.strip().lower()
    begun = [offer for offer in offers if typed and offer.lower().startswith(typed)]
    exact = [offer for offer in offers if offer in {text, text.strip()}]
    return exact[0] if exact else begun[0] if len(begun) == 1 else None
