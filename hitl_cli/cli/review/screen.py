"""The screen of `hitl review`: one request, a status line, and the keys.

hitl_cli/cli/render/request.py escapes text from requests, and prompt_toolkit draws control characters
as `^X`.
"""

from __future__ import annotations

import io
import signal
import webbrowser
from contextlib import suppress
from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, to_formatted_text
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput

from hitl_cli.cli.context import handling
from hitl_cli.cli.render.blocks import Block, drawn
from hitl_cli.cli.render.request import drawing
from hitl_cli.cli.render.table import Cell
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.format.terminal import cells, printable
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import answer_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyPressEvent

    from hitl_cli.cli.review.session import Lines, Page, ReviewSession
    from hitl_cli.inbox.details import RequestDetails

type Said = Literal["reason", "comment", "choice", "question", "names"]

LONGEST_TOLD = 400
"""Characters of the status message: three lines of a terminal."""

TOLD_LINES = 3
MOST_DIGITS = 9
"""How many choices a single key can select."""

ESCAPE_S = 0.05
"""How long after Esc a key is read as part of an escape sequence."""

HELP = """\
a        approve; fill in the form or choose an answer if there is one
1 … 9    answer with this choice
e        change the arguments, if they can be changed, and approve
r        reject, with a reason
c        comment, without a decision
b        ask the person who sent it a question: the request waits for the answer
t        claim it, so that others see that you are working on it; again: release it
g        assign it to others: people, or groups as group:NAME, with commas between them
s        skip; at the end: return to the skipped requests
o        open the link of the request
u        undo the last decision; each decision is sent after 5 seconds
q        send all decisions and quit
Ctrl-C   quit without sending the remaining decisions
?        show or hide this help

↑ ↓ PgUp PgDn Space Home End   scroll a long request
Enter, Esc                     send or cancel the text
"""


class End(Struct, frozen=True):
    """The end of the review. `send`: whether decisions that are still held are sent."""

    send: bool


type Wish = End | Callable[[], str]
"""Why the screen closes: for good, or to run a function that needs the terminal and returns a message."""


class _Typing(Struct, frozen=True):
    """The kind of text that a person is typing, and for which request."""

    what: Said
    item: RequestSummary
    message: str


class Screen:
    """The display and its keys. `run` returns when the person quits."""

    def __init__(self, desk: ReviewSession, person: str) -> None:
        self._desk = desk
        self._person = person
        self._typing: _Typing | None = None
        self._drafts: dict[tuple[Said, str], str] = {}
        self._helping = False
        self._body = _Body(self._lines)
        self._line = Buffer(multiline=False, accept_handler=self._typed)
        self._app = self._application()
        desk.changed = self._changed

    def run(self) -> End:
        """Show one request after another until the person quits. Always restores the terminal."""
        with handling((signal.SIGTERM, signal.SIGHUP), _end):
            while True:
                wish = self._app.run(pre_run=self._changed)
                if isinstance(wish, End):
                    return wish
                try:
                    self._desk.told = wish()
                except (HitlError, KeyboardInterrupt) as problem:
                    self._desk.told = str(problem) or "canceled; nothing was changed."

    # While the screen is closed

    def _fill(self, item: RequestSummary, choice: str | None) -> str:
        from hitl_cli.cli.form_prompt import fill_in

        data = fill_in(answer_form(item.asked), title=item.asked.title)
        return self._hold(item, DecisionInput(verdict="approve", choice=choice, data=data))

    # Answers

    def _hold(self, item: RequestSummary, answer: DecisionInput) -> str:
        if self._desk.hold(item, answer):
            return ""
        return f"{item.id} was decided meanwhile. Your answer was not sent."

    def _typed(self, buffer: Buffer) -> bool:
        """Accept the typed text; keep it in the line if it is not valid."""
        typing = self._typing
        assert typing is not None
        try:
            self._desk.told = self._say(typing, buffer.text.strip())
        except HitlError as problem:
            self._desk.told = str(problem)
            return True
        self._stop_typing()
        if typing.what in ("comment", "question"):
            del self._drafts[typing.what, typing.item.id]
        return False

    def _say(self, typing: _Typing, text: str) -> str:
        item = typing.item
        match typing.what:
            case "choice":
                return self._choose(item, _numbered(text, item.asked.choices))
            case "comment":
                if not text:
                    raise BadInput("The comment is empty. Press Esc to cancel.")
                self._desk.comment(item.id, text)
                return ""
            case "question":
                self._desk.ask_back(item.id, text)
                return ""
            case "names":
                self._desk.assign(item.id, [name.strip() for name in text.split(",") if name.strip()])
                return ""
            case "reason":
                return self._hold(item, DecisionInput(verdict="reject", reason=text))

    def _choose(self, item: RequestSummary, choice: str) -> str:
        """Answer with a choice, after the form if there is one."""
        if answer_form(item.asked) is None:
            return self._hold(item, DecisionInput(verdict="approve", choice=choice))
        self._app.exit(result=partial(self._fill, item, choice))
        return ""

    def _start_typing(self, what: Said, item: RequestSummary, message: str) -> None:
        """Open the input line with the draft for this request, if there is one."""
        text = self._drafts.get((what, item.id), "")
        self._typing = _Typing(what, item, message)
        self._line.text = text
        self._line.cursor_position = len(text)
        self._app.layout.focus(self._line)

    def _stop_typing(self) -> None:
        if self._typing is not None:
            self._drafts[self._typing.what, self._typing.item.id] = self._line.text
        self._typing = None
        self._line.reset()
        self._app.layout.focus(self._body)

    # Keys

    def _application(self) -> Application[Wish]:
        typing = Condition(lambda: self._typing is not None)
        body = Window(self._body)
        line = Window(
            BufferControl(
                self._line,
                input_processors=[BeforeInput(lambda: self._typing.message if self._typing else "")],
            ),
            height=1,
        )
        told = Window(
            FormattedTextControl(lambda: _shortened(self._desk.told)),
            wrap_lines=True,
            height=Dimension(max=TOLD_LINES),
            dont_extend_height=True,
        )
        app: Application[Wish] = Application(
            layout=Layout(
                HSplit(
                    [
                        Window(FormattedTextControl(self._head), height=1),
                        body,
                        Window(FormattedTextControl(self._rule), height=1),
                        ConditionalContainer(told, Condition(lambda: bool(self._desk.told))),
                        ConditionalContainer(
                            Window(FormattedTextControl(self._held), height=1),
                            Condition(lambda: bool(self._desk.held())),
                        ),
                        ConditionalContainer(line, typing),
                        ConditionalContainer(Window(FormattedTextControl(self._keys), height=1), ~typing),
                    ]
                ),
                focused_element=body,
            ),
            key_bindings=self._bindings(typing),
            full_screen=True,
            mouse_support=False,
        )
        app.ttimeoutlen = ESCAPE_S
        return app

    def _bindings(self, typing: Condition) -> KeyBindings:
        keys = KeyBindings()

        def bind(*names: str, act: Callable[[], object], when: Any = ~typing, said: bool = True) -> None:
            def pressed(_: KeyPressEvent) -> None:
                if said:
                    self._desk.told = ""
                try:
                    act()
                except HitlError as problem:
                    self._desk.told = str(problem)
                except Exception as error:  # noqa: BLE001
                    self._fail(error)

            for name in names:
                keys.add(name, filter=when, eager=True)(pressed)

        bind("a", act=self._approve)
        bind("e", act=self._change)
        bind("r", act=self._reject)
        bind("c", act=lambda: self._type("comment", "Comment: "))
        bind("b", act=lambda: self._type("question", "Question: "))
        bind("g", act=lambda: self._type("names", "Assign to: "))
        bind("t", act=self._take)
        bind("s", act=self._skip)
        bind("u", act=self._undo)
        bind("o", act=self._link)
        bind("?", act=self._help)
        bind("escape", act=self._help, when=~typing & Condition(lambda: self._helping))
        bind("q", act=lambda: self._app.exit(result=End(send=True)))
        bind("c-c", act=lambda: self._app.exit(result=End(send=False)))
        bind("c-l", act=lambda: self._app.renderer.clear())  # noqa: PLW0108 - the renderer does not exist yet
        bind("c-c", "escape", act=self._stop_typing, when=typing)
        for digit in range(1, MOST_DIGITS + 1):
            bind(str(digit), act=partial(self._digit, digit))
        page = self._body.turn
        bind("down", "j", act=lambda: page(1), said=False)
        bind("up", "k", act=lambda: page(-1), said=False)
        bind("pagedown", "space", act=lambda: page(self._body.height - 1), said=False)
        bind("pageup", act=lambda: page(1 - self._body.height), said=False)
        bind("home", act=lambda: page(-self._body.count), said=False)
        bind("end", act=lambda: page(self._body.count), said=False)
        return keys

    def _meant(self) -> RequestSummary | None:
        """Return the request that a key is meant for; None, with a message, if that is not certain."""
        page = self._page()
        if self._helping:
            self._helping = False
            return None
        if page is None:
            known = self._desk.where().place
            self._desk.told = "The request is still loading." if known else self._desk.nothing_more
            return None
        if self._desk.just_jumped():
            self._desk.told = "The request on the screen changed. Read it, then press the key again."
            return None
        return page.seen.item

    def _deciding(self) -> RequestSummary | None:
        """Return the request on the screen. Raises NotAllowed if it needs a signature."""
        item = self._meant()
        if item is not None:
            self._desk.check_signs(item)
        return item

    def _approve(self) -> None:
        item = self._deciding()
        if item is None:
            return
        if item.asked.choices:
            self._start_typing("choice", item, f"Choice (1-{len(item.asked.choices)} or a name): ")
        elif item.asked.form is not None:
            self._app.exit(result=partial(self._fill, item, None))
        else:
            self._desk.told = self._hold(item, DecisionInput(verdict="approve"))

    def _change(self) -> None:
        item = self._deciding()
        if item is None:
            return
        if item.asked.editable is None:
            self._desk.told = "The arguments of this request cannot be changed."
        elif item.asked.choices:
            self._approve()  # the choice comes first, then the arguments
        else:
            self._app.exit(result=partial(self._fill, item, None))

    def _digit(self, digit: int) -> None:
        item = self._deciding()
        if item is None:
            return
        choices = item.asked.choices
        if not choices:
            self._desk.told = "This request has no choices. Press a to approve or r to reject."
        elif len(choices) > MOST_DIGITS:
            self._drafts["choice", item.id] = str(digit)
            self._approve()
        else:
            self._desk.told = self._choose(item, _numbered(str(digit), choices))

    def _reject(self) -> None:
        if item := self._deciding():
            self._desk.told = "Press Enter to reject, Esc to cancel."
            self._start_typing("reason", item, "Reason: ")

    def _type(self, what: Said, message: str) -> None:
        if item := self._meant():
            self._start_typing(what, item, message)

    def _take(self) -> None:
        if item := self._meant():
            self._desk.claim(item)

    def _skip(self) -> None:
        if not self._desk.where().place:
            self._desk.again()
        elif self._meant():
            self._desk.skip()

    def _undo(self) -> None:
        back = self._desk.undo()
        self._desk.told = (
            "Nothing to undo: all decisions were sent."
            if back is None
            else f"Undone: {_verb(back.answer)} {back.id} was not sent."
        )

    def _link(self) -> None:
        page = self._page()
        if page is None:
            return
        link = page.seen.item.asked.link
        if link is None:
            self._desk.told = "This request has no link."
        elif link.startswith(("http://", "https://")):
            self._app.exit(result=partial(_opened, link))  # a browser may need the terminal for itself
        else:
            self._desk.told = f"Cannot open this link in a browser: {link}"

    def _help(self) -> None:
        self._helping = not self._helping
        self._body.top = 0

    # Display

    def _page(self) -> Page | None:
        return self._desk.page(self._app.output.get_size().columns)

    def _lines(self, width: int) -> tuple[object, Lines]:
        """Return the key of the current content, and its lines."""
        if self._helping:
            return "help", _wrapped(HELP, width)
        page = self._page()
        if page is not None:
            return page.seen.item.id, page.lines
        where = self._desk.where()
        if where.place or not where.listed:
            return "", _wrapped("Loading …", width)
        later = f" You skipped {where.skipped}: press s to return to them." if where.skipped else ""
        return "", _wrapped(f"{self._desk.nothing_more} New ones appear here.{later}", width)

    def _head(self) -> StyleAndTextTuples:
        now = self._desk.where()
        count = f"{now.count} and more" if now.more else str(now.count)
        where = f"{now.place} of {count}" if now.place else count
        page = self._page()
        title = page.seen.item.prompt or page.seen.item.function or "" if page is not None else ""
        return [("bold", f"{where}  "), ("", f"as {printable(self._person)}  "), ("", printable(title))]

    def _rule(self) -> StyleAndTextTuples:
        width = self._app.output.get_size().columns
        below = self._body.below
        text = f"── {below} more line{'s' if below > 1 else ''}: Space " if below else ""
        return [("ansibrightblack", text + "─" * (width - cells(text)))]

    def _held(self) -> StyleAndTextTuples:
        told = [
            f"{_verb(held.answer)} {held.id} (sent in {-(-left // 1_000)} s)"
            for held, left in reversed(self._desk.held())
        ]
        return [("ansiyellow", printable(f"u to undo: {', '.join(told)}"))]

    def _keys(self) -> StyleAndTextTuples:
        page = self._page()
        asked = page.seen.item.asked if page is not None else None
        names = ["q quit", "? help"]
        if asked is not None:
            yes = "1-9 choose" if asked.choices else "a fill in" if asked.form is not None else "a approve"
            link = ["o open link"] if asked.link else []
            change = ["e change"] if asked.editable is not None and not asked.choices else []
            names = [yes, *change, "r reject", "c comment", "s skip", *link, "u undo", *names]
        room = self._app.output.get_size().columns
        return [
            (
                "bold",
                "  ".join(names if len("  ".join(names)) <= room else [name.split()[0] for name in names]),
            )
        ]

    # Redrawing and failures

    def _changed(self) -> None:
        """Redraw; an unexpected error of a thread closes the screen."""
        error, loop = self._desk.failure, self._app.loop
        if error is not None and loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self._fail, error)
        self._app.invalidate()

    def _fail(self, error: Exception) -> None:
        """Close the screen, and raise the error in `run`."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit(exception=error)


class _Body(UIControl):
    """Lines that scroll when they do not fit."""

    def __init__(self, lines: Callable[[int], tuple[object, Lines]]) -> None:
        self._lines = lines
        self._shown: object = None
        self.top = 0
        self.count = self.height = self.below = 0

    def is_focusable(self) -> bool:
        return True

    def create_content(self, width: int, height: int) -> UIContent:
        what, lines = self._lines(width)
        if what != self._shown:
            self._shown, self.top = what, 0
        self.count, self.height = len(lines), height
        self.top = max(min(self.top, len(lines) - height), 0)
        shown = lines[self.top : self.top + height]
        self.below = len(lines) - self.top - len(shown)
        return UIContent(
            lambda n: to_formatted_text(ANSI(shown[n])), line_count=len(shown), show_cursor=False
        )

    def turn(self, lines: int) -> None:
        """Scroll by a number of lines; negative is up."""
        self.top = max(self.top + lines, 0)


def _end(number: int, _: object) -> None:
    """End the process after a signal, once the terminal is restored."""
    raise SystemExit(128 + number)


def draw(seen: RequestDetails, width: int) -> Lines:
    """Return the lines of a request, with its numbered choices, for a terminal of this width."""
    from rich.console import Console, Group

    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=True,
        color_system="standard",
        no_color=False,
        highlight=False,
        legacy_windows=False,
    )
    numbers = [[Cell(str(n), "bold"), Cell(choice)] for n, choice in enumerate(seen.item.asked.choices, 1)]
    choices = drawn(Block("choices", numbers)) if numbers else ()
    console.print(Group(drawing(seen, width), *choices))
    return file.getvalue().removesuffix("\n").split("\n")


def _opened(link: str) -> str:
    return f"Opened {link}" if webbrowser.open(link) else f"No browser found. Open it yourself: {link}"


def _wrapped(text: str, width: int) -> Lines:
    """Return the lines of a text wrapped to a width."""
    return [part for line in text.split("\n") for part in wrap(line, max(width, 1)) or [""]]


def _numbered(text: str, choices: Sequence[str]) -> str:
    """Return the choice with this name or number. Raises BadInput."""
    if text in choices:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(choices):
        return choices[int(text) - 1]
    raise BadInput(f"{text!r} is not a choice: type a number from 1 to {len(choices)}, or a name.")


def _verb(held: DecisionInput) -> str:
    """Return a decision in a word or two."""
    return f"{held.verdict}" if held.choice is None else f"answer {held.choice!r}"


def _shortened(text: str) -> str:
    """Return a status message cut to fit."""
    text = printable(text)
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}…"
