"""The sentences of errors, each provoked once and kept in messages.txt. Other tests assert codes and facts.

`HITL_UPDATE=1 make test ARGS=tests/messages` writes the file again; read what changed before you commit it.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from tests.conftest import Hitl

KEPT = Path(__file__).with_name("messages.txt")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?Z| \d\d:\d\d(:\d\d)? [A-Z+-]\w+)")
AGO = re.compile(r"\d+(\.\d+)?(ms|s|m) ago")
DIGEST = re.compile(r"[0-9a-f]{64}")
FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 500}},
    "required": ["amount"],
}


class Provoked(Struct, frozen=True):
    """A command that fails: its exit code, its code, and what it needs besides the scene."""

    exit_code: int
    code: str
    args: tuple[str, ...]
    stdin: str | None = None
    settings: str | None = None


def fails(exit_code: int, code: str, *args: str, stdin: str | None = None) -> Provoked:
    return Provoked(exit_code, code, args, stdin)


def unsettled(code: str, settings: str, *args: str) -> Provoked:
    """A settings file that cannot be used."""
    return Provoked(2, code, args or ("pending",), settings=settings)


PROVOKED = [
    # What was typed
    fails(2, "bad-usage", "approve"),
    fails(2, "bad-usage", "approve", "--match", "", "--yes"),
    fails(2, "bad-usage", "approve", "--stdin", "--data", "-", stdin="1"),
    fails(2, "bad-usage", "approve", "form", "--set", "amount"),
    fails(2, "bad-usage", "ask"),
    fails(2, "bad-usage", "ask", "?", "--no-wait", "--timeout", "1s"),
    fails(2, "bad-usage", "ask", "?", "--tag", "x"),
    fails(2, "bad-usage", "gateway", "--trust-header", "X-User"),
    fails(2, "bad-usage", "history", "--json", "--csv"),
    fails(2, "bad-usage", "pending", "--mine", "--to", "eve"),
    fails(2, "bad-usage", "pending", "--sort", "size"),
    fails(2, "bad-usage", "pending", "--token", "x"),
    fails(2, "bad-usage", "pending", "--tag", "team"),
    fails(2, "bad-usage", "pending", "--tag", "a=1", "--tag", "a=2"),
    fails(2, "bad-usage", "review"),
    fails(2, "bad-usage", "server", "--host", "0.0.0.0"),
    fails(2, "bad-usage", "server", "--auth-iss", "x"),
    fails(2, "bad-usage", "start"),
    fails(2, "bad-usage", "start", "a", "--stdin"),
    fails(2, "bad-usage", "start", "--stdin", "--wait"),
    fails(2, "bad-usage", "start", "a", "1", "--no-args"),
    fails(2, "bad-usage", "start", "a", "--kwarg", "x"),
    fails(2, "bad-usage", "status", "--state", "odd"),
    fails(2, "bad-usage", "token", "create", "--as", "reviewer", "--can", "fly"),
    fails(2, "bad-duration", "start", "a", "--deadline", "soon"),
    fails(2, "bad-duration", "start", "a", "--deadline", "200000w"),
    fails(2, "bad-duration", "worker", "--lease", "1ms"),
    fails(2, "bad-duration", "link", "open", "--for", "reviewer", "--expires", "367d"),
    fails(2, "bad-name", "start", "a:b"),
    fails(2, "bad-name", "start", ""),
    fails(2, "bad-name", "pending", "--to", ""),
    fails(2, "bad-name", "pending", "--tag", "hitl:key=x"),
    fails(2, "bad-name", "approve", "open", "--as", "group:ops"),
    fails(2, "bad-name", "approve", "open", "--as", " "),
    fails(2, "bad-json", "approve", "open", "--data", "{"),
    fails(2, "bad-json", "start", "--stdin", stdin='{"id": 5}\n'),
    fails(2, "bad-file", "approve", "open", "--data", "@missing.json"),
    fails(2, "bad-file", "ask", "?", "--digest", "/dev/null"),
    fails(2, "bad-file", "backup", "nowhere/b.db"),
    fails(2, "bad-app", "worker", "--app", "nope.at.all"),
    fails(2, "bad-app", "worker", "--app", "missing.py"),
    fails(2, "bad-app", "worker", "--app", "empty.py"),
    fails(2, "bad-server", "pending", "-S", "redis://x"),
    fails(2, "bad-server", "pending", "-S", "http://"),
    fails(2, "bad-server", "pending", "-S", "sqlite:///"),
    fails(2, "bad-server", "pending", "-S", "sqlite:////tmp/a#b.db"),
    fails(2, "bad-server", "backup", "b.db", "-S", "http://127.0.0.1:9"),
    fails(2, "bad-server", "backup", "/b.db", "-S", "postgresql://ops:secret@127.0.0.1:9/hitl"),
    fails(2, "bad-server", "server", "-S", "postgresql://127.0.0.1:9/hitl"),
    fails(2, "bad-usage", "--trace", "t", "pending", "-S", "http://127.0.0.1:9"),
    fails(2, "bad-key", "server", "--port", "0", "--auth-publickey", "empty.py"),
    fails(2, "needs-confirmation", "prune", "--older", "1ms"),
    fails(2, "needs-confirmation", "approve", "--stdin", stdin="open\n"),
    # Settings
    unsettled("bad-setting", "nonsense ="),
    unsettled("bad-setting", "gruop = 1"),
    unsettled("bad-setting", "[people.reviewer]\nemail = 'nobody'"),
    unsettled("bad-setting", "[people.reviewer]\nslack = 'nowhere'"),
    unsettled("bad-setting", "[people.reviewer]\nslack_user = 'me'"),
    unsettled("bad-setting", "[people.reviewer]\nnotify = ['email']"),
    unsettled("bad-setting", "[people.'group:ops']\nemail = 'ops@example.org'"),
    unsettled("bad-setting", "[email]\nhost = 'h'\nfrom = 'nobody'"),
    unsettled("bad-setting", "[hooks.ci]\nsecret = 'short'", "gateway", "--port", "0"),
    unsettled("bad-setting", "gateway = 'nowhere'", "open"),
    # Requests and answers
    fails(2, "bad-question", "ask", " "),
    fails(2, "bad-question", "ask", "?", "--to", "group:"),
    fails(2, "bad-question", "ask", "?", "--approvals", "2", "--to", "ada"),
    fails(2, "bad-question", "ask", "?", "--no-self", "--as", "ada", "--to", "ada"),
    unsettled(
        "bad-question", "[groups.ops]\nmembers = ['ada']", "ask", "?", "--approvals", "2", "--to", "ops"
    ),
    fails(2, "bad-form", "ask", "?", "--form", "1"),
    fails(2, "bad-form", "ask", "?", "--form", '{"type": "odd"}'),
    fails(2, "bad-answer", "answer", "open", "perhaps"),
    fails(2, "bad-answer", "approve", "choice"),
    fails(2, "bad-answer", "approve", "open", "--set", "a=1"),
    fails(2, "bad-answer", "approve", "open", "--data", '{"__type": "x"}'),
    fails(2, "bad-answer", "comment", "open", " "),
    fails(2, "does-not-fit-form", "approve", "form", "--data", '{"amount": 501}'),
    fails(2, "does-not-fit-form", "approve", "form", "--set", "sum=1"),
    fails(2, "does-not-fit-form", "approve", "form", "--set", "amount=many"),
    fails(2, "too-large", "ask", "-", stdin="x" * 1_000_001),
    fails(2, "ambiguous-id", "approve", "same"),
    fails(2, "link-invalid", "link", "revoke", "https://a.example/x"),
    fails(3, "not-found", "approve", "nope"),
    fails(3, "not-found", "status", "nope"),
    fails(3, "not-found", "history", "nope"),
    fails(3, "not-found", "ask", "--id", "nope"),
    fails(3, "not-found", "schedule", "remove", "nightly"),
    fails(3, "not-found", "token", "revoke", "nobody"),
    fails(3, "not-found", "notify", "test", "reviewr"),
    fails(3, "nothing-waiting", "approve", "--match", "nope", "--yes"),
    fails(3, "nothing-waiting", "show", "run"),
    fails(4, "already-decided", "reject", "decided"),
    fails(4, "already-exists", "start", "run", "2"),
    fails(4, "already-exists", "backup", "empty.py"),
    fails(4, "question-differs", "ask", "Other?", "--id", "open"),
    fails(5, "timed-out", "wait", "run", "--timeout", "1ms"),
    fails(6, "file-unusable", "pending", "-S", "sqlite:///empty.py/hitl.db"),
    fails(6, "file-unusable", "pending", "-S", "sqlite:///letter"),
    fails(6, "server-unreachable", "pending", "-S", "http://127.0.0.1:9"),
    fails(6, "server-unreachable", "open", "--url", "http://127.0.0.1:9"),
    fails(7, "not-assignee", "approve", "theirs"),
    fails(7, "self-approval", "approve", "own"),
    # Handing over
    fails(7, "not-reassignable", "assign", "theirs", "eve"),
    fails(7, "not-assignee", "assign", "shared", "eve"),
    fails(7, "self-approval", "assign", "mine", "ada"),
    fails(2, "bad-question", "assign", "two", "eve"),
    fails(2, "bad-question", "assign", "two", "eve", "--add"),
    fails(4, "already-decided", "assign", "decided", "eve"),
    fails(4, "already-decided", "assign", "refused", "eve"),
    fails(4, "already-ended", "cancel", "refused"),
    fails(2, "bad-usage", "extend", "mine", "1h", "--until", "2026-12-24"),
    fails(4, "claimed", "claim", "claimed"),
    fails(4, "claimed", "approve", "claimed"),
    fails(2, "bad-duration", "claim", "open", "--for", "30d"),
    fails(7, "not-extendable", "extend", "open", "1h"),
    fails(7, "not-assignee", "extend", "shared", "1h"),
    fails(2, "bad-duration", "extend", "mine", "2h"),
    fails(1, "backup-failed", "backup", "hitl.db", "--force"),
]


def scene(hitl: Hitl) -> None:
    """Ask what the commands are about."""
    (hitl.folder / "empty.py").write_text("x = 1\n")
    (hitl.folder / "letter").write_text("This is a letter, and no database. " * 200)
    hitl.ok("start", "run", "1")
    put(hitl, "open", Question(prompt="Open?"))
    put(hitl, "form", Question(prompt="How much?", form=FORM))
    put(hitl, "choice", Question(prompt="Now?", choices=("ship", "hold")))
    put(hitl, "theirs", Question(prompt="Theirs?", to=("lead",)))
    put(hitl, "own", Question(prompt="Own?", allow_self=False), by="ada")
    put(hitl, "shared", Question(prompt="?", to=("lead",), reassign="assignees", extend=1_000), by="bob")
    mine = Question(prompt="?", to=("lead",), reassign="assignees", extend=1_000, allow_self=False)
    put(hitl, "mine", mine, by="ada")
    put(hitl, "two", Question(prompt="?", approvals=2, reassign="anyone"))
    put(hitl, "claimed", Question(prompt="?"))
    hitl.ok("claim", "claimed", "--as", "bob")
    for id in ("a", "b"):
        put(hitl, id, Question(prompt=f"Is it {id}?"), key="same")
    put(hitl, "decided", Question(prompt="Well?"))
    put(hitl, "refused", Question(prompt="Well?"))
    with hitl.client() as client:
        Inbox(client, Actor(person="bob", via="cli")).decide("decided", DecisionInput(verdict="approve"))
        Inbox(client, Actor(person="bob", via="cli")).decide("refused", DecisionInput(verdict="reject"))


def told(hitl: Hitl, number: int, one: Provoked) -> str:
    """Return the paragraph of a command, without what differs between two runs."""
    folder = hitl.folder
    if one.settings is not None:
        folder = hitl.folder / f"settings-{number}"
        folder.mkdir()
        (folder / "hitl.toml").write_text(one.settings + "\n")
    said = hitl.fails(one.exit_code, *one.args, code=one.code, stdin=one.stdin, cwd=folder)
    said = INSTANT.sub("INSTANT", said.replace(str(hitl.folder), "FOLDER").replace(f"settings-{number}/", ""))
    said = DIGEST.sub("DIGEST", AGO.sub("A MOMENT ago", said))
    typed = " ".join(arg if arg.strip() and " " not in arg else repr(arg) for arg in one.args)
    given = "" if one.settings is None else f"\n{one.settings}"
    return f"{one.code}, exit {one.exit_code}: hitl {typed}{given}\n{said}"


@pytest.mark.timeout(300)  # a hundred commands
def test_the_sentences_are_the_ones_in_the_file(hitl: Hitl) -> None:
    scene(hitl)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda numbered: told(hitl, *numbered), enumerate(PROVOKED)))
    text = "\n".join(found)
    if os.environ.get("HITL_UPDATE"):
        KEPT.write_text(text)
    assert text.split("\n\n") == KEPT.read_text().split("\n\n")
