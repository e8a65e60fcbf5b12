"""`hitl review`: one request after another, by keys, on a terminal as a person has one."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import subprocess
from functools import partial
from operator import ne
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.requests.question import Question
from tests import forked
from tests.cli.requests import promise_now, put
from tests.cli.test_answers import data_of
from tests.conftest import HITL, wait_until
from tests.terminal import CTRL_C, CTRL_U, ENTER, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Hitl

ESC = "\x1b"
AMOUNT = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 500}},
    "required": ["amount"],
}


@pytest.fixture
def review(hitl: Hitl) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*args: str, env: dict[str, str] | None = None, columns: int = 100, lines: int = 60) -> Terminal:
        opened.append(
            Terminal(
                [HITL, "review", *args],
                {**hitl.env, **(env or {})},
                hitl.folder,
                columns=columns,
                lines=lines,
            )
        )
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def ask(hitl: Hitl, id: str, prompt: str = "", **more: Any) -> None:
    put(hitl, id, Question(prompt=prompt or f"Is {id} right?", **more))


def ended(terminal: Terminal, code: int = 0) -> str:
    assert terminal.end() == code
    assert terminal.is_plain()
    return terminal.screen()


def state(hitl: Hitl, id: str) -> str:
    return str(promise_now(hitl, id)["state"])


def test_one_request_after_another_is_approved_rejected_commented_and_skipped(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    for n in range(1, 5):
        ask(hitl, f"r{n}:1")
    terminal = review()
    shown = terminal.shows("Is r1:1 right?")
    assert "1 of 4" in shown
    terminal.type("c")
    terminal.asks("Comment: ")
    terminal.type("looks odd" + ENTER)
    terminal.shows("Comment added to r1:1.")
    terminal.shows("looks odd")
    terminal.type("a")
    terminal.shows("Is r2:1 right?")
    terminal.type("r")
    terminal.asks("Reason: ")
    terminal.type("too late" + ENTER)
    assert "u to undo: reject r2:1" in terminal.shows("Is r3:1 right?")
    terminal.type("s")
    terminal.shows("Is r4:1 right?")
    assert [state(hitl, f"r{n}:1") for n in range(1, 5)] == ["pending"] * 4
    wait_until(lambda: state(hitl, "r2:1") == "rejected")
    assert state(hitl, "r1:1") == "resolved"
    terminal.shows("r2:1 of run r2 rejected by ada.")
    terminal.type("q")
    assert "1 approved, 1 rejected, 1 commented, 1 skipped, 1 left" in ended(terminal)
    assert [entry["reason"] for entry in hitl.json("history")][:1] == ["too late"]
    assert [entry["by"] for entry in hitl.json("history")] == ["ada", "ada"]


def test_what_was_decided_can_be_taken_back_before_it_is_sent(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1")
    ask(hitl, "r2:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("r")
    terminal.asks("Reason: ")
    terminal.type("because" + ENTER)
    terminal.shows("Is r2:1 right?")
    terminal.type("u")
    terminal.shows("Undone: reject r1:1")
    terminal.shows("Is r1:1 right?")
    terminal.type("u")
    terminal.shows("Nothing to undo")
    terminal.type("r")
    terminal.asks("Reason: because")
    terminal.type(ESC)
    terminal.shows("a approve")
    terminal.type("q")
    assert "0 approved, 0 rejected, 0 commented, 0 skipped, 2 left" in ended(terminal)
    assert state(hitl, "r1:1") == "pending"


def test_what_is_held_at_the_end_is_sent_at_once_by_q_and_not_at_all_by_ctrl_c(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1")
    ask(hitl, "r2:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows("Is r2:1 right?")
    terminal.type(CTRL_C)
    shown = ended(terminal, 1)
    assert "Not sent: approve r1:1." in shown
    assert "0 approved, 0 rejected, 0 commented, 0 skipped, 2 left" in shown
    assert state(hitl, "r1:1") == "pending"
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows("Is r2:1 right?")
    terminal.type("q")
    shown = ended(terminal)
    assert "Sending the remaining decisions: r1:1." in shown
    assert "1 approved, 0 rejected, 0 commented, 0 skipped, 1 left" in shown
    assert state(hitl, "r1:1") == "resolved"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_process_that_is_ended_has_sent_nothing_that_was_held(
    hitl: Hitl, review: Callable[..., Terminal], how: signal.Signals
) -> None:
    ask(hitl, "r1:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows("No more open requests")
    terminal.process.send_signal(how)
    if how is signal.SIGKILL:
        terminal.end()
    else:
        assert "Not sent: approve r1:1." in ended(terminal, 128 + how)
    assert state(hitl, "r1:1") == "pending"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "No more open requests for ada."),
        (["--workflow", "r1"], "No more open request matches."),
        (["--all"], "No more open requests that ada may see."),
    ],
)
def test_what_is_left_is_said_of_what_is_reviewed(
    hitl: Hitl, review: Callable[..., Terminal], args: list[str], said: str
) -> None:
    (hitl.folder / "hitl.toml").write_text('[visibility]\ndefault = "assigned"\n')
    ask(hitl, "r1:1", to=("ada",))
    ask(hitl, "r2:1", to=("lead",))
    terminal = review("--as", "ada", *args)
    terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows(said)


def test_a_request_that_comes_later_stands_at_the_end(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1")
    terminal = review()
    assert "1 of 1" in terminal.shows("Is r1:1 right?")
    ask(hitl, "a-new-one:1")
    assert "Is r1:1 right?" in terminal.shows("1 of 2")
    terminal.type("s")
    terminal.shows("Is a-new-one:1 right?")
    terminal.type("s")
    terminal.shows("You skipped 2: press s")
    terminal.type("s")
    terminal.shows("Is r1:1 right?")
    terminal.type("q")
    ended(terminal)


def test_what_another_decides_while_it_is_shown_goes_and_who_did_it_is_told(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1")
    ask(hitl, "r2:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    hitl.ok("reject", "r1:1", "--reason", "no need", "--as", "eve")
    assert "r1:1 was already rejected by eve" in terminal.shows("Is r2:1 right?")
    assert "1 of 1" in terminal.screen()
    terminal.type("q")
    assert "0 approved, 0 rejected, 0 commented, 0 skipped, 1 left" in ended(terminal)


def test_a_decision_that_another_was_quicker_with_is_told(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows("u to undo: approve r1:1")
    hitl.ok("reject", "r1:1", "--as", "eve")
    terminal.shows("r1:1 was already rejected by eve")
    terminal.type("q")
    assert "0 approved, 0 rejected, 0 commented, 0 skipped, 0 left" in ended(terminal)


def test_choices_are_answered_by_number_and_by_name(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1", choices=("ship", "hold"))
    ask(hitl, "r2:1", choices=("ship", "hold"))
    terminal = review()
    shown = terminal.shows("Is r1:1 right?")
    assert "1  ship" in shown
    terminal.type("2")
    terminal.shows("u to undo: answer 'hold' r1:1")
    terminal.shows("Is r2:1 right?")
    terminal.type("a")
    terminal.asks("Choice (1-2 or a name): ")
    terminal.type("3" + ENTER)
    terminal.shows("'3' is not a choice")
    terminal.type(CTRL_U + "ship" + ENTER)
    terminal.shows("u to undo: answer 'ship' r2:1")
    terminal.type("q")
    assert "2 approved" in ended(terminal)
    assert (data_of(hitl, "r1:1"), data_of(hitl, "r2:1")) == ("hold", "ship")


def test_more_choices_than_digits_are_typed_by_number(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1", choices=tuple(f"option {n}" for n in range(1, 13)))
    terminal = review()
    terminal.shows("12  option 12")
    terminal.type("1")
    terminal.asks("Choice (1-12 or a name): 1")
    terminal.type("1" + ENTER)
    terminal.shows("u to undo: answer 'option 11' r1:1")
    terminal.type("u")
    terminal.shows("Undone: answer 'option 11' r1:1")
    terminal.type("q")
    ended(terminal)


def test_what_was_typed_and_not_sent_is_there_again(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("c")
    terminal.asks("Comment: ")
    terminal.type("half a tho" + ESC)
    terminal.shows("c comment")
    terminal.type("c")
    terminal.asks("Comment: half a tho")
    terminal.type("ught" + ENTER)
    terminal.shows("half a thought")
    terminal.type("q")
    assert "1 commented" in ended(terminal)


def test_a_form_is_filled_in_before_the_screen_comes_back(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1", form=AMOUNT)
    ask(hitl, "r2:1", form=AMOUNT)
    terminal = review()
    terminal.shows("a fill in")
    terminal.type("a")
    terminal.asks("amount: ")
    terminal.type("120" + ENTER)
    terminal.asks("Send it (yes, change a field, no): ")
    terminal.type("yes" + ENTER)
    assert "u to undo: approve r1:1" in terminal.shows("Is r2:1 right?")
    terminal.type("a")
    terminal.asks("amount: ")
    terminal.type(CTRL_C)
    terminal.shows("canceled; nothing was changed.")
    terminal.shows("Is r2:1 right?")
    terminal.type("q")
    assert "1 approved, 0 rejected, 0 commented, 0 skipped, 1 left" in ended(terminal)
    assert data_of(hitl, "r1:1") == {"amount": 120}


def test_only_what_one_may_answer_is_offered_unless_all_is_asked_for(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1", to=("eve",))
    ask(hitl, "r2:1", to=("ada", "eve", "bob"), approvals=2)
    terminal = review()
    assert "1 of 1" in terminal.shows("Is r2:1 right?")
    assert "0 of 2" in terminal.screen()
    terminal.type("a")
    terminal.shows("u to undo")
    terminal.type("q")
    assert "1 approved" in ended(terminal)
    assert state(hitl, "r2:1") == "pending"
    terminal = review("--all")
    assert "1 of 2" in terminal.shows("Is r1:1 right?")
    terminal.type("a")
    terminal.shows("only eve can answer r1:1; ada cannot.")
    terminal.type("q")
    ended(terminal)


def test_what_needs_a_signature_is_not_decided_here_and_says_how(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1", proof="signed")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    for key in "ar":
        terminal.type(key)
        terminal.shows("hitl approve r1:1 --sign")
    terminal.type("q")
    ended(terminal)
    assert state(hitl, "r1:1") == "pending"


HOSTILE = (
    "# Sure? \x1b[2J\x1b]0;owned\x07\x9b31m [red]no[/] \u202egnp [here](http://a.example/x)\n\nsecond\rline"
)


def test_what_others_wrote_is_shown_and_not_obeyed(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1", HOSTILE, details={"a\x1b[1m": "b\x1b[8mc"}, choices=("go\x1b[2J", "stop"))
    terminal = review()
    shown = terminal.shows("http://a.example/x")
    for escaped in (r"\x1b[2J\x1b]0;owned\x07\x9b31m", "[red]no[/]", r"\u202egnp", r"a\x1b[1m", r"go\x1b[2J"):
        assert escaped in shown
    terminal.type("1")
    terminal.shows(r"u to undo: answer 'go\x1b[2J' r1:1")
    terminal.type("u")
    terminal.shows("Undone")
    for obeyed in ("\x1b]0;owned", "\x9b", "\u202e", "\x1b[8m", "\x1b]8;"):
        assert obeyed not in terminal.raw
    terminal.type("q")
    ended(terminal)


def test_a_small_terminal_shows_all_of_it_a_page_at_a_time_and_one_that_grows_more(
    hitl: Hitl, review: Callable[..., Terminal]
) -> None:
    ask(hitl, "r1:1", "\n\n".join(f"line {n}" for n in range(30)) + "\n\nthe end of it")
    terminal = review(columns=40, lines=10)
    shown = terminal.shows("more lines: Space")
    assert "line 0" in shown
    assert len(shown.splitlines()) == 10
    seen = shown
    while "Space" in shown:
        terminal.type(" ")
        shown = terminal.becomes(partial(ne, shown))
        seen += shown
    assert all(f"line {n}\n" in seen for n in range(30))
    assert "r1:1  waiting" not in shown
    terminal.resize(100, 60)
    assert "the end of it" in terminal.shows("line 10\n")
    terminal.resize(40, 10)
    terminal.hides("line 10\n")
    wait_until(lambda: terminal.screen().count("\n") == 9)  # at first there is nothing on it
    assert len(terminal.screen().splitlines()) == 10
    terminal.type("q")
    ended(terminal)


def test_a_link_is_opened_by_the_browser(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    browser = hitl.folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    ask(hitl, "r1:1", link="https://example.org/diff")
    ask(hitl, "r2:1")
    terminal = review(env={"BROWSER": f"{browser} %s"})
    terminal.shows("o open link")
    terminal.type("o")
    terminal.shows("Opened https://example.org/diff")
    assert (hitl.folder / "opened").read_text() == "https://example.org/diff\n"
    terminal.type("s")
    terminal.shows("Is r2:1 right?")
    terminal.type("o")
    terminal.shows("This request has no link.")
    terminal.type("q")
    ended(terminal)


def test_help_is_shown_and_left_again(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1")
    terminal = review()
    terminal.shows("Is r1:1 right?")
    terminal.type("?")
    terminal.shows("send all decisions and quit")
    terminal.type("a")
    terminal.hides("send all decisions and quit")
    assert "u to undo" not in terminal.screen()
    terminal.type("?")
    terminal.shows("send all decisions and quit")
    terminal.type("\x1b")
    terminal.hides("send all decisions and quit")
    terminal.type("q")
    ended(terminal)


def test_no_color_where_none_is_wanted(hitl: Hitl, review: Callable[..., Terminal]) -> None:
    ask(hitl, "r1:1", "Is **this** right?")
    terminal = review(env={"NO_COLOR": "1"})
    terminal.shows("Is this right?")
    terminal.type("q")
    ended(terminal)
    assert not any(f"{color}m" in terminal.raw for color in range(30, 38))


def test_without_a_terminal_it_names_the_commands_that_need_none(hitl: Hitl) -> None:
    assert "`hitl pending`" in hitl.fails(2, "review", code="bad-usage")
    ours, theirs = pty.openpty()
    done = forked.run(
        [HITL, "review"],
        env={**hitl.env, "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "`hitl approve ID`" in done.stderr


def test_what_cannot_be_reached_is_told_before_the_screen_is_taken(review: Callable[..., Terminal]) -> None:
    terminal = review("--server", "http://127.0.0.1:9")
    assert "cannot be reached" in ended(terminal, 6)
    assert "\x1b[?1049h" not in terminal.raw


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_it_looks_the_same_in_tmux(hitl: Hitl, tmux: Callable[..., str]) -> None:
    ask(hitl, "r1:1", "Is **this** right?")
    ask(hitl, "r2:1")
    command = shlex.join(["env", *(f"{name}={value}" for name, value in hitl.env.items()), HITL, "review"])
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "60", "-y", "16", f"{command}; echo exit $?; cat")

    def shows(text: str) -> str:
        wait_until(lambda: text in tmux("capture-pane", "-p"))
        return tmux("capture-pane", "-p")

    assert shows("Is this right?").startswith("1 of 2  as ada")
    tmux("resize-window", "-x", "40", "-y", "10")
    shows("a  r  c  s  u  q  ?")
    tmux("send-keys", "r")
    shows("Reason:")
    tmux("send-keys", "-l", "not now")
    tmux("send-keys", "Enter")
    shows("Is r2:1 right?")
    tmux("send-keys", "q")
    assert "0 approved, 1 rejected, 0 commented" in shows("exit 0")
    assert hitl.json("history")[0]["reason"] == "not now"


@pytest.fixture
def tmux() -> Iterator[Callable[..., str]]:
    with TemporaryDirectory(prefix="hitl-") as folder:  # the path of its socket must be short

        def run(*args: str) -> str:
            command = ["tmux", "-S", f"{folder}/s", *args]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        yield run
        subprocess.run(["tmux", "-S", f"{folder}/s", "kill-server"], capture_output=True, check=False)
