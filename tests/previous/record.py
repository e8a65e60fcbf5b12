"""Records the files, links, tokens, keys and sessions of this version, for tests of later versions.

    python -m tests.previous.record

Run it before a release that changes how something is stored, named or signed, and commit its output in
`recorded/`, beside the app and the settings. Never overwrite a recording. It uses only the installed command,
so it works with any version. The secrets in it are for tests alone.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HITL = str(Path(sys.executable).with_name("hitl"))
FOLDER = Path(__file__).parent / "recorded"
CLOCK = Path(__file__).parent / "clock"
KEPT = ("hitl.toml", "recorded_flows.py", "build.txt")
"""Files that the recording is made with. They are written by hand."""

MORNING = datetime(2026, 1, 5, 9, tzinfo=UTC)
NOON = 3
"""Hours after MORNING."""

HOUR_MS = 3_600_000
PATIENCE_S = 60.0
LOOK_S = 0.05
HOOK_SECRET = base64.b64decode("ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=")

FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 500}},
    "required": ["amount"],
}
ESCALATED = {
    "prompt": "Raise the limit?",
    "to": "group:crew",
    "escalate": {"2h": "ops"},
    "remind": "1h",
    "deadline": "90d",
    "on_deadline": "reject",
    "allow_self": False,
}
LONG = {"deadline": "90d"}
TOKEN_FOR = ("token", "create", "--as")
IDENTITY = ("application_id", "user_version")


def until[T](condition: Callable[[], T]) -> T:
    """Wait until the condition returns a true value, and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > end:
            sys.exit(f"no result within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)
    return value


class Receiver(BaseHTTPRequestHandler):
    """Answers each webhook message with 503, and keeps the message by its id."""

    refused: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.refused[self.headers["webhook-id"]] = json.loads(body)
        self.send_response(503)
        self.send_header("Retry-After", "60")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Computer:
    """The command, in a folder with settings, with a clock of its own."""

    def __init__(self, folder: Path, hook_url: str) -> None:
        self.folder = folder
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
        self.env = {name: os.environ[name] for name in kept if name in os.environ}
        self.env |= {"PYTHONPATH": str(CLOCK), "COLUMNS": "200", "HOOK_URL": hook_url, "HITL_AS": "ops"}
        self.started: list[subprocess.Popen[str]] = []
        self.set_clock(0)

    def set_clock(self, hours: float) -> None:
        """Set the clock to so many hours after MORNING."""
        self.ahead_ms = int(MORNING.timestamp() * 1_000 + hours * HOUR_MS) - time.time_ns() // 1_000_000
        self.env["CLOCK_AHEAD_MS"] = str(self.ahead_ms)

    @property
    def now_ms(self) -> int:
        """The time on its clock, in ms since the epoch."""
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def run(self, *args: str, by: str = "ops") -> str:
        """Run a command as a person and return its output; exit if it fails."""
        done = subprocess.run(
            [HITL, *args],
            env={**self.env, "HITL_AS": by},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"hitl {' '.join(args)} exited {done.returncode}: {done.stderr}")
        return done.stdout

    def json(self, *args: str, by: str = "ops") -> Any:
        return json.loads(self.run(*args, "--json", by=by))

    def start(self, *args: str) -> tuple[subprocess.Popen[str], str]:
        """Start a command that runs until stopped; return it with the first line of its output."""
        process = subprocess.Popen(
            [HITL, *args], env=self.env, cwd=self.folder, stdout=subprocess.PIPE, text=True
        )
        self.started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        threading.Thread(target=process.stdout.read, daemon=True).start()
        return process, line

    def waiting(self) -> dict[str, dict[str, Any]]:
        """Return the pending requests by id."""
        return {item["id"]: item for item in self.json("pending", "--all")}

    def ask_id(self, run: str, prompt: str = "") -> str:
        """Wait for a request of this run whose prompt contains the text, and return its id."""

        def found() -> str:
            items = self.waiting().values()
            return next(
                (
                    item["id"]
                    for item in items
                    if item["workflow"] == run and prompt in (item["prompt"] or "")
                ),
                "",
            )

        return until(found)


class Browser:
    """An HTTP client that keeps cookies, and returns each request together with its answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_S)
        sent = dict(headers or {})
        cookies = {"Cookie": "; ".join(f"{name}={text}" for name, text in self.cookies.items())}
        connection.request(method, path, body or None, sent | (cookies if self.cookies else {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                cookie, _, text_of_it = value.split(";")[0].partition("=")
                self.cookies[cookie] = text_of_it
        connection.close()
        return {
            "method": method,
            "path": path,
            "headers": sent,
            "body": body.decode(),
            "status": answer.status,
            "answer": text,
        }

    def post(self, path: str, document: object, headers: dict[str, str]) -> dict[str, Any]:
        """Post JSON."""
        sent = {"Content-Type": "application/json", **headers}
        return self.ask("POST", path, json.dumps(document).encode(), sent)

    def page(self, path: str) -> str:
        """Return a page."""
        return str(self.ask("GET", path, headers={"Accept": "text/html"})["answer"])

    def send_form(self, path: str, form: dict[str, str]) -> int:
        body = urlencode(form).encode()
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        return int(self.ask("POST", path, body, sent)["status"])


def csrf_in(page: str) -> str:
    """Return the CSRF token of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


# Filling the file


def fill(here: Computer) -> dict[str, Any]:
    """Create runs, requests, links and tokens in every state."""
    _, line = here.start("worker")
    assert "serving" in line
    start_runs(here)
    ask_in_scripts(here)
    answer_some(here)
    here.run("schedule", "add", "nightly", "0 2 * * *", "--workflow", "approval")
    kept: dict[str, Any] = make_links(here)
    kept |= use_gateway(here, kept)
    pass_time(here)
    kept["hook"] = answer_by_hook(here)
    return kept


def start_runs(here: Computer) -> None:
    for id in ("approval-1", "approval-2", "approval-3", "approval-4", "linked-1", "linked-2", "linked-3"):
        here.run("start", id)
    for id, options in {
        "escalated-1": ESCALATED,
        "form-1": {"prompt": "How much?", "form": FORM, "to": "reviewer", **LONG},
        "session-1": {"prompt": "In a browser?", "to": "reviewer", **LONG},
        "program-1": {"prompt": "By a program?", **LONG},
        "hook-1": {"prompt": "By a hook?", **LONG},
        "expired-1": {"prompt": "In time?", "deadline": "1h"},
        "expired-2": {"prompt": "Or by default?", "deadline": "1h", "on_deadline": "approve"},
    }.items():
        here.run("start", id, json.dumps(options), "--workflow", "asks")
    for id, workflow, *args in (
        ("quorum-1", "decides_together", "1.4.2"),
        ("quorum-2", "decides_together", "1.4.3"),
        ("twice-1", "asks_twice", "--no-args"),
        ("caught-1", "catches", "--no-args"),
        ("failed-1", "fails", "--no-args"),
        ("workflow-a@example.org", "email-verification", "a@example.org"),
    ):
        here.run("start", id, *args, "--workflow", workflow)


def ask_in_scripts(here: Computer) -> None:
    here.run("ask", "Release 1?", "--id", "release-1", "--to", "reviewer", "--key", "first", "--no-wait")
    here.run("ask", "Release 2?", "--id", "release-2", "--digest", "build.txt", "--no-wait")
    here.run("ask", "Release 3?", "--id", "release-3", "--choice", "ship", "--choice", "hold", "--no-wait")
    here.run("ask", "Release 4?", "--id", "release-4", "--tag", "team=web", "--no-wait")
    here.run("ask", "Release 5?", "--id", "release-5", "--no-wait")
    here.run("approve", "release-2", "--data", '{"to": ["a", "b"]}', "--comment", "at last", by="lead")
    here.run("answer", "release-3", "hold", by="lead")
    here.run("reject", "release-4", "--reason", "not today", by="lead")
    here.run("cancel", "release-5")


def answer_some(here: Computer) -> None:
    here.run("approve", here.ask_id("approval-2"), "--data", '{"n": 1}', "--comment", "fine", by="reviewer")
    here.run("reject", here.ask_id("approval-3"), "--reason", "too early", by="lead")
    here.ask_id("approval-4")
    here.run("cancel", "approval-4", "--reason", "by mistake")
    here.run("comment", here.ask_id("quorum-1"), "Are the tests green?", by="lead")
    together = here.ask_id("quorum-2")
    here.run("answer", together, "hold", "--set", "percent=5", by="reviewer")
    here.run("comment", together, "I would wait", by="ops")
    here.run("answer", together, "hold", "--set", "percent=5", "--comment", "me too", by="lead")
    here.run("approve", here.ask_id("twice-1", "How far"), "--set", "percent=20", "--set", "note=slowly")
    here.ask_id("twice-1", "Sure")
    here.run("reject", here.ask_id("caught-1", "In a child"), "--reason", "no budget", by="lead")
    here.run("reject", here.ask_id("caught-1", "In a run"), "--reason", "no time", by="lead")
    here.ask_id("caught-1", "In time")


def make_links(here: Computer) -> dict[str, Any]:
    """Create links that are valid, to be used, and revoked; rotate the key after the first."""
    old = here.json("link", "linked-1", "--for", "reviewer", "--expires", "300d")
    here.run("key", "rotate")
    links = {
        "good": here.json("link", "linked-1", "--for", "lead", "--expires", "300d"),
        "signed_by_the_key_before": old,
        "answered": here.json("link", "linked-2", "--for", "lead", "--expires", "300d"),
        "answered_by_another": here.json("link", "linked-2", "--for", "reviewer", "--expires", "300d"),
        "revoked": here.json("link", "linked-3", "--for", "lead", "--expires", "300d"),
    }
    here.run("link", "revoke", links["revoked"]["url"])
    tokens = {
        "reviewer": here.json(
            *TOKEN_FOR, "reviewer", "--can", "decide", "--can", "start", "--expires", "1800d"
        ),
        "revoked": here.json(*TOKEN_FOR, "lead", "--can", "read"),
    }
    here.run("token", "revoke", tokens["revoked"]["id"])
    return {"links": links, "tokens": tokens}


def use_gateway(here: Computer, kept: dict[str, Any]) -> dict[str, Any]:
    """Answer by a link, sign in, and send requests of a program."""
    gateway, line = here.start("gateway", "--port", "0", "--sign-in")
    url = line.split(" on ")[1].split()[0]
    by_link = Browser(url)
    path = urlsplit(kept["links"]["answered"]["url"]).path
    form = {"csrf": csrf_in(by_link.page(path)), "verdict": "reject", "reason": "by a link"}
    assert by_link.send_form(path, form) in {200, 303}
    good = urlsplit(kept["links"]["good"]["url"]).path
    kept = {
        "link_form": {"csrf": csrf_in(by_link.page(good)), "verdict": "approve", "comment": "by a link"},
        "session": session_at(here, url, kept["tokens"]["reviewer"]["token"]),
        "sent": send_twice(here, Browser(url), kept["tokens"]["reviewer"]["token"]),
    }
    gateway.terminate()
    gateway.wait()
    return kept


def session_at(here: Computer, url: str, token: str) -> dict[str, Any]:
    """Sign in and open a request; return the session and the form, which is not sent."""
    browser = Browser(url)
    signed_in = browser.send_form("/sign-in", {"csrf": csrf_in(browser.page("/sign-in")), "token": token})
    assert signed_in == 303
    path = f"/r/{quote(here.ask_id('session-1'), safe='')}"
    form = {"csrf": csrf_in(browser.page(path)), "verdict": "approve", "comment": "in a browser"}
    return {"cookie": browser.cookies["hitl-session"], "path": path, "form": form}


def send_twice(here: Computer, browser: Browser, token: str) -> list[dict[str, Any]]:
    """Send each request twice with an Idempotency-Key, and once more with another body; return these."""
    program = quote(here.ask_id("program-1"), safe="")
    together = quote(here.ask_id("quorum-1"), safe="")
    run = {"id": "api-1", "workflow": "asks", "args": [{"prompt": "Started by a program?"}]}
    vote = {"choice": "ship", "data": {"percent": 50}, "comment": "half of it"}
    decision = {"verdict": "approve", "data": {"b": [1, 2.5], "a": None}}
    sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("/api/v1/runs", run, {"deadline": "9d"}),
        (f"/api/v1/requests/{program}/decision", decision, {"comment": "another"}),
        (f"/api/v1/requests/{program}/comments", {"comment": "said by a program"}, {"comment": "another"}),
        (f"/api/v1/requests/{together}/decision", vote, {"comment": "another"}),
    ]
    again = []
    for number, (path, document, changed) in enumerate(sent):
        named = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"key-{number} of a program"}
        first = browser.post(path, document, named)
        here.ask_id("api-1")  # so that what is answered from now on stays the same
        last = browser.post(path, document, named)
        assert first["status"] == last["status"] in {200, 201}, last
        other = browser.post(path, document | changed, named)
        assert other["status"] == 422, other
        again += [last, other]
    for path, document in (
        ("/start", {"email": "a@example.org"}),
        ("/start-workflow", {"workflow_id": "approval-2"}),
    ):
        again.append(browser.post(path, document, {"Authorization": f"Bearer {token}"}))
    return again


def pass_time(here: Computer) -> None:
    """Move the clock three hours on: deadlines pass, reminders are due. Kill the worker at the end."""
    worker = here.started[0]
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    here.set_clock(NOON)
    worker, _ = here.start("worker")
    until(lambda: any(said["type"] == "hitl.reminder" for said in Receiver.refused.values()))
    for id, workflow in (("sleeping-1", "sleeps"), ("retried-1", "prints")):
        here.run("start", id, "--no-args", "--workflow", workflow)
    here.ask_id("caught-1", "And now")
    for id in ("expired-1", "expired-2", "failed-1", "quorum-2", "approval-2"):
        until(lambda id=id: here.json("status", id)["state"] in {"completed", "failed"})  # type: ignore[misc]
    until(lambda: "sleep" in here.run("status", "sleeping-1"))
    until(lambda: len(here.json("status", "retried-1")["steps"]) == 1)
    worker.kill()
    worker.wait()
    here.set_clock(NOON + 0.05)  # the worker's lease has ended


def answer_by_hook(here: Computer) -> dict[str, Any]:
    """Post the same signed answer to a hook twice, and return the second request."""
    gateway, line = here.start("gateway", "--port", "0")
    browser = Browser(line.split(" on ")[1].split()[0])
    body = json.dumps({"request": here.ask_id("hook-1"), "verdict": "reject", "by": "lead", "reason": "no"})
    at = str(here.now_ms // 1_000)
    signed = hmac.digest(HOOK_SECRET, f"message-1.{at}.{body}".encode(), "sha256")
    headers = {
        "webhook-id": "message-1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    for _ in range(2):
        last = browser.ask("POST", "/hooks/bot", body.encode(), headers)
        assert last["status"] == 200, last
    gateway.terminate()
    gateway.wait()
    return last


# Recording it

PRINTED = {
    "pending": ("pending", "--all"),
    "history": ("history",),
    "history of one": ("history", "quorum-2"),
    "stats": ("stats",),
    "schedules": ("schedule", "list"),
    "tokens": ("token", "list"),
    "keys": ("key", "list"),
    "runs": ("status", "--limit", "100"),
    "caught": ("status", "caught-1"),
    "a vote": ("show", "quorum-1"),
    "told": ("show", "escalated-1"),
    "script": ("show", "release-2"),
    "approved": ("wait", "approval-2"),
    "asked again": ("ask", "Release 2?", "--id", "release-2", "--digest", "build.txt"),
    "asked by id": ("ask", "--id", "release-3"),
}


def record(here: Computer, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what was printed, given out and answered, for a comparison with later versions."""
    printed = {name: {"command": list(args), "printed": here.json(*args)} for name, args in PRINTED.items()}
    with closing(sqlite3.connect(here.folder / "hitl.db")) as db:
        ids = [id for (id,) in db.execute("SELECT id FROM promises ORDER BY id")]
    return {"at_ms": here.now_ms, **kept, "refused": Receiver.refused, "printed": printed, "ids": ids}


def dump(database: Path) -> str:
    """Return a file as SQL."""
    with closing(sqlite3.connect(database)) as db:
        heads = [f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};" for name in IDENTITY]
        return "\n".join([*heads, *db.iterdump(), ""])


@contextmanager
def receiver() -> Iterator[str]:
    """Run a webhook receiver, and give its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def main() -> None:
    """Record this version."""
    if (FOLDER / "hitl.sql").exists():
        sys.exit(f"{FOLDER} holds a recording already")
    with tempfile.TemporaryDirectory() as name, receiver() as hook_url:
        here = Computer(Path(name), hook_url)
        for kept in KEPT:
            shutil.copy(FOLDER / kept, here.folder)
        try:
            recorded = record(here, fill(here))
        finally:
            for process in here.started:
                process.kill()
        (FOLDER / "hitl.sql").write_text(dump(here.folder / "hitl.db"))
        shutil.copy(here.folder / "hitl.db.keys", FOLDER)
        text = json.dumps(recorded, indent=1, ensure_ascii=False, sort_keys=True)
        (FOLDER / "recorded.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
