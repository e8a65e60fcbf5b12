"""A page of the docs: its files are written, its commands run in order, and their output compared.

- A `console` block is run, and its output is compared. What differs from run to run is not (`VARYING`).
- A `sh` block is run, and must succeed. What it sets in the environment stays for the commands after it.
- A `python` or `toml` block that begins with `# NAME.py` or `# NAME.toml` is written to that file.
- `<!-- run` followed by lines with `$ ` and `-->` runs what a reader does not see, as preparation.
- `<!-- file` followed by such a block and `-->` writes a file that a reader does not see.
- `<!-- uses PAGE.md -->` writes the files of another page first.
- `<!-- with SERVICE … -->` starts what the page connects to: see services.py.
- `<!-- not run: REASON -->` before a block: its commands are read, but not run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.cli.curl import curl
from tests.conftest import HITL, PATIENCE_S, WorkerProcess, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Hitl

PORTS = {"dev": ":5001", "gateway": ":5001", "server": ":8001"}
UPDATE = bool(os.environ.get("HITL_UPDATE"))
"""Whether a page is rewritten to show what its commands print now: read the diff."""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PART = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]*) -->\n+)?"
    r"(?:```(?P<kind>\w+)\n(?P<block>.*?)^```"
    r"|(?P<indented>(?:^ {4}\S[^\n]*\n)+)"
    r"|<!-- run\n(?P<hidden>.*?)-->"
    r"|<!-- file\n(?P<file>.*?)-->)",
    re.MULTILINE | re.DOTALL,
)
USES = re.compile(r"^<!-- uses ([\w./-]+\.md) -->$", re.MULTILINE)
WITH = re.compile(r"^<!-- with ([a-z ]+) -->$", re.MULTILINE)
FILE = re.compile(r"# ([\w-]+\.(?:py|toml))\n")
STAYS = {"worker", "dev", "gateway", "server"}
CHANGES_A_RUN = {"start", "approve", "reject", "answer"}
NEEDS_A_SHELL = re.compile(r"[$|<>;&`*]")
QUOTED = re.compile(r"'[^']*'|#.*")

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
    """A block of a page. `kind` is its language; `hidden` or `file` for a comment; empty where indented."""

    kind: str
    text: str
    not_run: str = ""
    """Why it is not run."""


def parts(page: Path) -> Iterator[Part]:
    """Return the blocks of a page."""
    for found in PART.finditer(page.read_text()):
        comment = next((kind for kind in ("hidden", "file") if found[kind]), None)
        if comment is not None:
            yield Part(comment, found[comment])
        else:
            yield Part(found["kind"] or "", found["block"] or found["indented"], found["reason"] or "")


def settled(text: str) -> list[str]:
    """Return the lines, with what varies replaced."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.strip().splitlines()]


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a console block with the output it is shown to have."""
    split = re.split(r"^\$ ", block, flags=re.MULTILINE)
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in split if part.strip()]


def statements(block: str) -> Iterator[str]:
    """Return the commands of a `sh` block: a line, with those that continue it or end what it begins."""
    said = ""
    for line in block.replace("\\\n", "").splitlines():
        said = f"{said}\n{line}" if said else line.strip()
        if not said.startswith("case ") or said.endswith("esac"):
            yield said
            said = ""
    assert not said


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
        self.swaps: dict[str, str] = {
            text: f"{hitl.folder}{end}"
            for text, end in (("/backups/", "/"), ("/var/lib/hitl/", "/"), ("/tmp/", "/"))
        }
        """What a command or a file gets in place of what a reader sees."""
        self.gateway_begins: Callable[[], None] = lambda: None
        self.programs: dict[str, Callable[[list[str]], str]] = {}
        """What stands in for commands that begin so: takes the other words, and returns what is printed."""
        self.updates: dict[str, str] = {}
        self.staying: dict[str, tuple[WorkerProcess, str]] = {}
        self.asking: list[tuple[str | None, subprocess.Popen[str]]] = []
        programs = hitl.folder / "bin"
        programs.mkdir()
        self.curl = programs / "curl"
        self.curl.write_text(SHIM)
        self.curl.chmod(0o700)
        hitl.env["PATH"] = f"{programs}:{Path(HITL).parent}:{hitl.env['PATH']}"
        hitl.env |= {"HITL_AS": "you", "BROWSER": "true"}

    def page(self, page: Path) -> None:
        """Run all of it."""
        for name in USES.findall(page.read_text()):
            for part in parts(page.parent / name):
                self._write(part)
        for part in parts(page):
            self._write(part)
            if not part.not_run:
                self._part(part)
        for expected, asking in self.asking:
            said, complained = asking.communicate(timeout=PATIENCE_S)
            assert asking.returncode == 0, complained
            assert expected is None or settled(said) == settled(expected)
        for name in list(self.staying):
            self._end(name)
        text = page.read_text()
        for old, new in self.updates.items():
            text = text.replace(old, new)
        if self.updates:
            page.write_text(text)

    def _part(self, part: Part) -> None:
        """Run the commands of a block."""
        if part.kind == "sh":
            lines = list(statements(part.text))
            for number, line in enumerate(lines):
                if _asks(line):  # what follows waits for it
                    self._ask("set -e\n" + "\n".join(lines[number:]), None)
                    break
                self._run(line, "", compared=False)
        elif part.kind in ("console", "hidden"):
            for line, expected in commands(part.text):
                self._run(line, expected, compared=part.kind == "console")

    def swapped(self, text: str) -> str:
        """Return a text of the page as a command or a file gets it."""
        shown = "|".join(map(re.escape, self.swaps))
        return re.sub(shown, lambda found: self.swaps[found[0]], text)

    def _shown(self, text: str) -> str:
        """Return what was printed as a reader would see it."""
        for shown, real in self.swaps.items():
            text = text.replace(real, shown) if real.startswith(":") else text
        return text

    def _as_shown(self, printed: str, expected: str) -> str:
        """Return what a command printed, with the lines of the page where only what varies differs."""
        same = {tuple(settled(line)): line for line in expected.splitlines()}
        printed = printed.replace(str(self.hitl.folder), "/home/you/.local/share/hitl")
        return "".join(same.get(tuple(settled(line)), line.rstrip()) + "\n" for line in printed.splitlines())

    def _write(self, part: Part) -> None:
        """Write a block that is a file."""
        if part.kind in ("python", "toml", "file") and (named := FILE.match(part.text)):
            (self.hitl.folder / named[1]).write_text(self.swapped(part.text))

    def _run(self, line: str, expected: str, *, compared: bool) -> None:
        words = next(hitl_commands(line), [""])
        if words[0] in STAYS and "--check" not in words:
            self._begin([self.swapped(word) for word in words if word != "&"], expected if compared else "")
            return
        if _asks(line):
            self._ask(line, expected if compared else None)
            return
        if words[0] == "review":
            self._review(words)
            return
        printed, noted, code = self._done(self.swapped(line))
        printed, noted = self._shown(printed), self._shown(noted)
        # A page may leave out what is said beside the result, and a terminal shows them in either order.
        if settled(printed) != settled(expected):
            either = [printed + noted, noted + printed]
            printed = next((both for both in either if settled(both) == settled(expected)), either[0])
        if compared and UPDATE and settled(printed) != settled(expected):
            self.updates[line + "\n" + expected] = line + "\n" + self._as_shown(printed, expected)
        elif compared:
            assert settled(printed) == settled(expected), line
        else:
            assert code == 0, f"{line}\n{printed}\n{noted}"
        if line.startswith("curl") and "started" in printed:
            wait_until(lambda: self.hitl.json("pending"))
        if code == 0 and words[0] in CHANGES_A_RUN and {"worker", "dev"} & {*self.staying}:
            wait_until(lambda: self._is_at_rest(words[1].partition(":")[0]))

    def _done(self, line: str) -> tuple[str, str, int]:
        """Run a line to its end: what it printed, what it said on stderr, and its exit code."""
        for name, act in self.programs.items():
            if line == name or line.startswith(f"{name} "):
                return act(shlex.split(line.removeprefix(name))), "", 0
        simple = not NEEDS_A_SHELL.search(QUOTED.sub("", line))
        if simple and line.startswith("curl ") and self.curl.exists():
            return curl(line, self.swaps.get(PORTS["gateway"], "")), "", 0
        if simple and line.startswith("hitl "):
            ended = self.hitl.run(*shlex.split(line, comments=True)[1:])
            return ended.stdout, ended.stderr, ended.returncode
        kept = self.hitl.folder / "environment"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"set -a\n{line}\nset -- $?; env -0 > {kept}; exit $1"],
            env=self.hitl.env,
            cwd=self.hitl.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if kept.exists():
            entries = (entry.partition("=") for entry in kept.read_text().split("\0") if entry)
            self.hitl.env.update({name: text for name, _, text in entries if name not in BASHS_OWN})
        return done.stdout, done.stderr, done.returncode

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
            shown = f":{words[words.index('--port') + 1]}" if "--port" in words else PORTS[words[0]]
            self.swaps[shown] = re.findall(r"://[\d.]+(:\d+)", started.said("http://"))[-1]
            self.hitl.env["GATEWAY_PORT"] = self.swaps.get(PORTS["gateway"], "")
        else:
            started.said("serving")
        self.staying[words[0]] = started, expected
        if words[0] in ("dev", "gateway"):
            self.gateway_begins()

    def _end(self, name: str) -> None:
        """Compare the output of a command that stays with the page, and stop the command."""
        if name not in self.staying:
            return
        started, expected = self.staying.pop(name)
        shown, lines = settled(expected), started.lines
        wait_until(lambda: len(lines) >= len(shown))
        assert settled(self._shown("\n".join(lines)))[: len(shown)] == shown, lines
        started.stop()

    def _review(self, words: list[str]) -> None:
        """Leave `hitl review` after its first request."""
        with Terminal([HITL, *words], self.hitl.env, self.hitl.folder) as terminal:
            terminal.shows("quit")
            terminal.type("q")
            assert terminal.end() == 0

    def _ask(self, script: str, expected: str | None) -> None:
        """Start what waits for an answer that a later command gives."""
        before = self._pending()
        asking = subprocess.Popen(
            ["bash", "-c", self.swapped(script)],
            env=self.hitl.env,
            cwd=self.hitl.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "hitl " in (expected or "") else subprocess.PIPE,
            text=True,
        )
        self.asking.append((expected, asking))
        wait_until(lambda: self._pending() > before or asking.poll() is not None)

    def _pending(self) -> int:
        """Return how many requests are pending; where nothing was asked yet, there may be no database."""
        return len(json.loads(self.hitl.run("pending", "--json").stdout or "[]"))


ROOT = Path(__file__).parents[2]
SHIM = f"""#!{sys.executable}
import os, shlex, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.cli.curl import curl
print(curl(shlex.join(["curl", *sys.argv[1:]]), os.environ.get("GATEWAY_PORT", "")))
"""
BASHS_OWN = ("_", "SHLVL", "PWD", "OLDPWD")


def _asks(line: str) -> bool:
    """Whether a line waits for an answer."""
    return any(words[:1] == ["ask"] and "--no-wait" not in words for words in hitl_commands(line))
