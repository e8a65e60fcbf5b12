"""The screen of `hitl review`: one request, a line that tells what happened, and the keys.

Text from others is escaped by hitl_cli/cli/render/request.py, and prompt_toolkit draws control characters
as `^X` in any case.
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
from hitl_cli.inbox.pending import RequestSummary
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyPressEvent

    from hitl_cli.cli.review.session import Lines, Page, ReviewSession
    from hitl_cli.inbox.details import RequestDetails

type Said = Literal["reason", "comment", "choice"]

LONGEST_TOLD = 400
"""Characters of what is told: three lines of a terminal."""

TOLD_LINES = 3
MOST_DIGITS = 9
"""How many choices can be told apart by one key."""

ESCAPE_S = 0.05
"""How long after Esc a key counts as a part of the same sequence."""

HELP = """\
a        approve; where it has a form, fill it in; where it has choices, choose
1 … 9    answer with one of the choices
r        reject, with a reason
c        leave a remark that decides nothing
s        skip it; when nothing else is left: look at what was skipped
o        open its link
u        take back what you decided last; each decision is sent after 5 seconds
q        send what is not sent yet, and end
Ctrl-C   end without sending it
?        this help, and back

↑ ↓ PgUp PgDn Space Home End   move in a long request
Enter, Esc                     say what was typed, or leave it
"""


class End(Struct, frozen=True):
    """The person is done. `send`: what is held, too."""

    send: bool


type Wish = End | Callable[[], str]
"""Why the screen is put away: for good, or for what needs the terminal and returns what came of it."""


class _Typing(Struct, frozen=True):
    """What a person is typing, and to which request."""

    what: Said
    item: RequestSummary
    message: str


class Screen:
    """What a person sees and presses. `run` returns when they are done."""

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
        """Show one request after another until the person ends it. The terminal is put back in any case."""
        with handling((signal.SIGTERM, signal.SIGHUP), _end):
            while True:
                wish = self._app.run(pre_run=self._changed)
                if isinstance(wish, End):
                    return wish
                try:
                    self._desk.told = wish()
                except (HitlError, KeyboardInterrupt) as problem:
                    self._desk.told = str(problem) or "canceled; nothing was changed."

    # What is done while the screen is away

    def _fill(self, item: RequestSummary, choice: str | None) -> str:
        from hitl_cli.cli.form_prompt import fill_in

        data = fill_in(item.asked.form, title=item.asked.title)
        return self._hold(item, DecisionInput(verdict="approve", choice=choice, data=data))

    # What is said

    def _hold(self, item: RequestSummary, answer: DecisionInput) -> str:
        if self._desk.hold(item, answer):
            return ""
        return f"{item.id} was decided meanwhile, so what you said was not sent."

    def _typed(self, buffer: Buffer) -> bool:
        """Take what was typed; it stays in the line where it will not do."""
        typing = self._typing
        assert typing is not None
        try:
            self._desk.told = self._say(typing, buffer.text.strip())
        except HitlError as problem:
            self._desk.told = str(problem)
            return True
        self._stop_typing()
        if typing.what == "comment":
            del self._drafts[typing.what, typing.item.id]
        return False

    def _say(self, typing: _Typing, text: str) -> str:
        item = typing.item
        match typing.what:
            case "choice":
                return self._choose(item, _numbered(text, item.asked.choices))
            case "comment":
                if not text:
                    raise BadInput("The remark says nothing. Esc leaves it.")
                self._desk.remark(item.id, text)
                return ""
            case "reason":
                return self._hold(item, DecisionInput(verdict="reject", reason=text))

    def _choose(self, item: RequestSummary, choice: str) -> str:
        """Answer with a choice, or fill in the form that goes with it."""
        if item.asked.form is None:
            return self._hold(item, DecisionInput(verdict="approve", choice=choice))
        self._app.exit(result=partial(self._fill, item, choice))
        return ""

    def _start_typing(self, what: Said, item: RequestSummary, message: str) -> None:
        """Open the line; what was typed there before, and not sent, is there again."""
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
        bind("r", act=self._reject)
        bind("c", act=self._comment)
        bind("s", act=self._skip)
        bind("u", act=self._undo)
        bind("o", act=self._link)
        bind("?", act=self._help)
        bind("escape", act=self._help, when=~typing & Condition(lambda: self._helping))
        bind("q", act=lambda: self._app.exit(result=End(send=True)))
        bind("c-c", act=lambda: self._app.exit(result=End(send=False)))
        bind("c-l", act=lambda: self._app.renderer.clear())  # noqa: PLW0108 - it is not there yet
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
        """Return the request that a key is meant for, if there can be no doubt about it."""
        page = self._page()
        if self._helping:
            self._helping = False
            return None
        if page is None:
            known = self._desk.where().place
            self._desk.told = "It is not shown yet." if known else "There is nothing to answer."
            return None
        if self._desk.just_jumped():
            self._desk.told = "This is another request. Look at it first, then press the key again."
            return None
        return page.seen.item

    def _approve(self) -> None:
        item = self._meant()
        if item is None:
            return
        if item.asked.choices:
            self._start_typing("choice", item, f"Answer (1-{len(item.asked.choices)}, or its name): ")
        elif item.asked.form is not None:
            self._app.exit(result=partial(self._fill, item, None))
        else:
            self._desk.told = self._hold(item, DecisionInput(verdict="approve"))

    def _digit(self, digit: int) -> None:
        item = self._meant()
        if item is None:
            return
        choices = item.asked.choices
        if not choices:
            self._desk.told = "It offers no choices: a approves, r rejects."
        elif len(choices) > MOST_DIGITS:
            self._drafts["choice", item.id] = str(digit)
            self._approve()
        else:
            self._desk.told = self._choose(item, _numbered(str(digit), choices))

    def _reject(self) -> None:
        if item := self._meant():
            self._desk.told = "Enter rejects, Esc does not."
            self._start_typing("reason", item, "Reason: ")

    def _comment(self) -> None:
        if item := self._meant():
            self._start_typing("comment", item, "Remark: ")

    def _skip(self) -> None:
        if not self._desk.where().place:
            self._desk.again()
        elif self._meant():
            self._desk.skip()

    def _undo(self) -> None:
        back = self._desk.undo()
        self._desk.told = (
            "There is nothing to take back: all you decided is sent."
            if back is None
            else f"Taken back, and not sent: {_verb(back.answer)} {back.id}."
        )

    def _link(self) -> None:
        page = self._page()
        if page is None:
            return
        link = page.seen.item.asked.link
        if link is None:
            self._desk.told = "It has no link."
        elif link.startswith(("http://", "https://")):
            self._app.exit(result=partial(_opened, link))  # a browser may need the terminal for itself
        else:
            self._desk.told = f"This is not an address of the web: {link}"

    def _help(self) -> None:
        self._helping = not self._helping
        self._body.top = 0

    # What is seen

    def _page(self) -> Page | None:
        return self._desk.page(self._app.output.get_size().columns)

    def _lines(self, width: int) -> tuple[object, Lines]:
        """Return what stands in the middle: what it is, and its lines."""
        if self._helping:
            return "help", _wrapped(HELP, width)
        page = self._page()
        if page is not None:
            return page.seen.item.id, page.lines
        where = self._desk.where()
        if where.place or not where.listed:
            return "", _wrapped("One moment …", width)
        later = f" You skipped {where.skipped}: s looks at them again." if where.skipped else ""
        return "", _wrapped(f"Nothing else waits for you. What comes is shown here.{later}", width)

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
            f"{_verb(held.answer)} {held.id} in {-(-left // 1_000)} s"
            for held, left in reversed(self._desk.held())
        ]
        return [("ansiyellow", printable(f"u takes back: {', '.join(told)}"))]

    def _keys(self) -> StyleAndTextTuples:
        page = self._page()
        asked = page.seen.item.asked if page is not None else None
        names = ["q quit", "? help"]
        if asked is not None:
            yes = "1-9 choose" if asked.choices else "a fill in" if asked.form is not None else "a approve"
            link = ["o open link"] if asked.link else []
            names = [yes, "r reject", "c comment", "s skip", *link, "u undo", *names]
        room = self._app.output.get_size().columns
        return [
            (
                "bold",
                "  ".join(names if len("  ".join(names)) <= room else [name.split()[0] for name in names]),
            )
        ]

    # The edges

    def _changed(self) -> None:
        """Draw again; what a thread did not expect ends it."""
        error, loop = self._desk.failure, self._app.loop
        if error is not None and loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self._fail, error)
        self._app.invalidate()

    def _fail(self, error: Exception) -> None:
        """Put the screen away, and raise the error where it was opened."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit(exception=error)


class _Body(UIControl):
    """Lines of which as many are shown as there is room for."""

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
        """Move so many lines down, or up."""
        self.top = max(self.top + lines, 0)


def _end(number: int, _: object) -> None:
    """End the process for a signal once the terminal has been put back."""
    raise SystemExit(128 + number)


def draw(seen: RequestDetails, width: int) -> Lines:
    """Return a request in so many columns, and its choices by number."""
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
    choices = drawn(Block("answers", numbers)) if numbers else ()
    console.print(Group(drawing(seen, width), *choices))
    return file.getvalue().removesuffix("\n").split("\n")


def _opened(link: str) -> str:
    return f"Opened {link}" if webbrowser.open(link) else f"There is no browser to open it: {link}"


def _wrapped(text: str, width: int) -> Lines:
    """Return a text of ours in so many columns."""
    return [part for line in text.split("\n") for part in wrap(line, max(width, 1)) or [""]]


def _numbered(text: str, choices: Sequence[str]) -> str:
    """Return the choice that is meant: by name, or by number. Raises BadInput."""
    if text in choices:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(choices):
        return choices[int(text) - 1]
    raise BadInput(f"{text!r} is none of the choices: give a number from 1 to {len(choices)}, or a name.")


def _verb(held: DecisionInput) -> str:
    """Return what is about to be said."""
    return f"{held.verdict}" if held.choice is None else f"answer {held.choice!r}"


def _shortened(text: str) -> str:
    """Return what is told, as far as there is room for it."""
    text = printable(text)
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}…"
