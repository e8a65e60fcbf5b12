"""A page of the docs: its files are written, its commands run in order, and their output compared.

- A `console` block is run, and its output is compared. What differs from run to run is not (`VARYING`).
- A `python` or `toml` block that begins with `# NAME.py` or `# NAME.toml` is written to that file.
- `<!-- run` followed by lines with `$ ` and `-->` runs what a reader does not see, as preparation.
- `<!-- uses PAGE.md -->` writes the files of another page first.
- `<!-- runs -->` before a block of another kind: its lines are run too, and must succeed.
- `<!-- not run: REASON -->` before a block: it is read, but not run.
- `<!-- not read: REASON -->` before a block: it is neither.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.cli.curl import curl
from tests.conftest import HITL, PATIENCE_S, WorkerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

PORT = ":5001"
UPDATE = bool(os.environ.get("HITL_UPDATE"))
"""Whether a page is rewritten to show what its commands print now: read the diff."""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PART = re.compile(
    r"^(?:<!-- (?P<mark>runs|not run(?=:)|not read(?=:))[^\n]* -->\n+)?"
    r"(?:```(?P<kind>\w+)\n(?P<block>.*?)^```"
    r"|(?P<indented>(?:^ {4}\S[^\n]*\n)+)"
    r"|<!-- run\n(?P<hidden>.*?)-->)",
    re.MULTILINE | re.DOTALL,
)
USES = re.compile(r"^<!-- uses ([\w./-]+\.md) -->$", re.MULTILINE)
FILE = re.compile(r"# ([\w-]+\.(?:py|toml))\n")
STAYS = {"worker", "dev", "gateway", "server"}
CHANGES_A_RUN = {"start", "approve", "reject", "answer"}

VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d \w+|T\d\d:\d\d[+-]\d\d:\d\d)"), "INSTANT"),
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\b\d+(ms|[dhms])( \d+[hms])?\b"), "DURATION"),
    (re.compile(r"sqlite:////\S+/hitl\.db"), "FILE"),
    (re.compile(r"/l/[\w.…-]+"), "/l/TOKEN"),
    (re.compile(r" +"), " "),
]
"""What differs from run to run, and what it is compared as."""


class Part(NamedTuple):
    """A block of a page. `kind` is its language, `hidden` for a comment, and empty where indented."""

    kind: str
    text: str
    mark: str = ""


def parts(page: Path) -> Iterator[Part]:
    """Return the blocks of a page."""
    for found in PART.finditer(page.read_text()):
        mark = found["mark"] or ""
        if found["hidden"]:
            yield Part("hidden", found["hidden"])
        else:
            yield Part(found["kind"] or "", found["block"] or found["indented"], mark)


def settled(text: str) -> list[str]:
    """Return the lines, with what varies replaced."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.strip().splitlines()]


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a console block with the output it is shown to have."""
    split = re.split(r"^\$ ", block, flags=re.MULTILINE)
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in split if part.strip()]


def hitl_commands(line: str) -> Iterator[list[str]]:
    """Return the words of each `hitl` on a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] | None = None
    before = "$"
    for word in [*lexer, ";"]:
        operator = set(word) <= set("();<>|&")
        if words is not None and not operator:
            words.append(word)
        elif words is not None:
            yield words
            words = None
        elif word == "hitl" and set(before) <= set("();<>|&$"):
            words = []
        before = word


class Run:
    """The commands of a page, on one database, as a reader types them into terminals."""

    def __init__(self, hitl: Hitl) -> None:
        self.hitl = hitl
        self.port = PORT
        self.updates: dict[str, str] = {}
        self.staying: dict[str, tuple[WorkerProcess, str]] = {}
        self.asking: list[tuple[str | None, subprocess.Popen[str]]] = []
        hitl.env["HITL_AS"] = "you"
        hitl.env["PATH"] = f"{Path(HITL).parent}:{hitl.env['PATH']}"

    def page(self, page: Path) -> None:
        """Run all of it."""
        for name in USES.findall(page.read_text()):
            for part in parts(page.parent / name):
                self._write(part)
        for part in parts(page):
            self._write(part)
            self._part(part)
        for expected, asking in self.asking:
            said, _ = asking.communicate(timeout=PATIENCE_S)
            assert expected is None or settled(said) == settled(expected)
        for name in list(self.staying):
            self._end(name)
        text = page.read_text()
        for old, new in self.updates.items():
            text = text.replace(old, new)
        if self.updates:
            page.write_text(text)

    def _part(self, part: Part) -> None:
        """Run the commands of a block that is to be run."""
        if part.mark == "runs":
            for line in part.text.replace("\\\n", "").splitlines():
                self._run(line.strip(), "", compared=False)
        elif not part.mark and part.kind in ("console", "hidden"):
            for line, expected in commands(part.text):
                self._run(line, expected, compared=part.kind == "console")

    def _as_shown(self, printed: str, expected: str) -> str:
        """Return what a command printed, with the lines of the page where only what varies differs."""
        same = {tuple(settled(line)): line for line in expected.splitlines()}
        printed = printed.replace(str(self.hitl.folder), "/home/you/.local/share/hitl")
        return "".join(same.get(tuple(settled(line)), line.rstrip()) + "\n" for line in printed.splitlines())

    def _write(self, part: Part) -> None:
        """Write a block that is a file."""
        if part.kind in ("python", "toml") and (named := FILE.match(part.text)):
            (self.hitl.folder / named[1]).write_text(part.text)

    def _run(self, line: str, expected: str, *, compared: bool) -> None:
        words = next(hitl_commands(line), [""])
        if words[0] in STAYS:
            self._begin(words, expected if compared else "")
            return
        if words[0] == "ask":
            self._ask(line, expected if compared else None)
            return
        if line.startswith("curl"):
            printed, code = curl(line.replace(PORT, self.port)), 0
        else:
            done = subprocess.run(
                ["bash", "-c", line.replace(PORT, self.port)],
                env=self.hitl.env,
                cwd=self.hitl.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            printed, code = done.stdout.replace(self.port, PORT), done.returncode
            noted = done.stderr.replace(self.port, PORT)
            # A page may leave out what is said beside the result, and a terminal shows them in either order.
            if settled(printed) != settled(expected):
                either = [printed + noted, noted + printed]
                printed = next((both for both in either if settled(both) == settled(expected)), either[0])
        if compared and UPDATE and settled(printed) != settled(expected):
            self.updates[line + "\n" + expected] = line + "\n" + self._as_shown(printed, expected)
        elif compared:
            assert settled(printed) == settled(expected), line
        else:
            assert code == 0, printed
        if line.startswith("curl") and "started" in printed:
            wait_until(lambda: self.hitl.json("pending"))
        if code == 0 and words[0] in CHANGES_A_RUN:
            wait_until(lambda: self._is_at_rest(words[1].partition(":")[0]))

    def _is_at_rest(self, run: str) -> bool:
        """Whether all that can happen to a run without a person has happened."""
        asked = self.hitl.run("status", run, "--json")
        if asked.returncode:  # a request of `hitl ask` belongs to no run
            return True
        found = json.loads(asked.stdout)
        return found["state"] != "running" and "a worker" not in str(found["waits_for"])

    def _begin(self, words: list[str], expected: str) -> None:
        """Start a command that stays, on a free port, and wait until it serves. It replaces one like it."""
        for name in ("worker", "dev") if words[0] in ("worker", "dev") else (words[0],):
            self._end(name)
        port = [] if words[0] == "worker" else ["--port", "0"]
        started = WorkerProcess([HITL, *words, *port], self.hitl.env, self.hitl.folder)
        self.hitl.workers.append(started)
        if port:
            self.port = re.findall(r"://[\d.]+(:\d+)", started.said("http://"))[-1]
        else:
            started.said("serving")
        self.staying[words[0]] = started, expected

    def _end(self, name: str) -> None:
        """Compare what a command that stays has printed, as far as the page shows it, and stop it."""
        if name not in self.staying:
            return
        started, expected = self.staying.pop(name)
        shown, lines = settled(expected), started.lines
        wait_until(lambda: len(lines) >= len(shown))
        assert settled("\n".join(lines).replace(self.port, PORT))[: len(shown)] == shown
        started.stop()

    def _ask(self, line: str, expected: str | None) -> None:
        """Start what waits for an answer that a later command gives."""
        before = self._pending()
        asking = subprocess.Popen(
            ["bash", "-c", line],
            env=self.hitl.env,
            cwd=self.hitl.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "hitl " in (expected or "") else subprocess.DEVNULL,
            text=True,
        )
        self.asking.append((expected, asking))
        wait_until(lambda: self._pending() > before or asking.poll() is not None)

    def _pending(self) -> int:
        """Return how many requests are pending; where nothing was asked yet, there may be no database."""
        return len(json.loads(self.hitl.run("pending", "--json").stdout or "[]"))
