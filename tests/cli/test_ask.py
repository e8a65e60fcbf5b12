"""`hitl ask`: a question in a script."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.cli.app import run
from hitl_cli.client.protocol import ProtocolRequest, get_promise, search
from hitl_cli.client.wire import Audit, Vote, audit_of, encode, headers_of
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.votes import record_vote
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question, question_of
from tests import forked
from tests.acting import approval, decide, rejection
from tests.cli.test_decisions import ask as bare_promise
from tests.cli.test_doctor import server
from tests.cli.test_terminal import on_terminal
from tests.conftest import HITL, PATIENCE_S, WorkerProcess, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl

HOUR_MS = 3_600_000
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
OPS = '[groups.ops]\nmembers = ["ann", "bob", "cy"]\n'


class Asking(WorkerProcess):
    """A `hitl ask` in a process of its own."""


def start(hitl: Hitl, *args: str) -> Asking:
    """Start a `hitl ask`, and wait until it has asked."""
    asking = Asking([*hitl.command, "ask", *args], hitl.env, hitl.folder)
    hitl.workers.append(asking)
    asking.complained("Request ")
    return asking


def asks(hitl: Hitl, id: str, **question: Any) -> None:
    """Create a request without a process, for tests of what follows."""
    asked = Question(prompt="?", **question)
    with hitl.client() as client:
        Inbox(client, Actor(person="ada", via="cli")).ask(asked, id=id, deadline_ms=HOUR_MS)


def yes(hitl: Hitl, id: str, *, by: str = "bob", comment: str | None = None, **data: Any) -> None:
    with hitl.client() as client:
        decide(client, id, approval(by=by, via="test", comment=comment, **data))


def no(hitl: Hitl, id: str, reason: str) -> None:
    with hitl.client() as client:
        decide(client, id, rejection(by="bob", via="test", reason=reason))


def promise(hitl: Hitl, id: str) -> Promise:
    with hitl.client() as client:
        found = get_promise(client, id)
    assert found is not None
    return found


def asked(hitl: Hitl) -> list[Promise]:
    with hitl.client() as client:
        return search(client, tags={"hitl:request": "1"})


# The answer


def test_a_yes_is_true_on_stdout_and_the_rest_one_plain_line_on_stderr(hitl: Hitl) -> None:
    asking = start(hitl, "Deploy 1.4.2?", "--to", "bob", "--deadline", "2h")
    [line] = asking.errors
    assert line.startswith("Request ask-")
    id = line.split()[1]
    assert f"{id} for bob: Deploy 1.4.2?" in line
    assert f"hitl approve {id}  or  hitl reject {id} --reason TEXT" in line
    yes(hitl, id)
    assert asking.end() == 0
    assert (asking.lines, asking.errors) == (["true"], [line])


def test_a_no_is_exit_1_with_who_and_why(hitl: Hitl) -> None:
    asking = start(hitl, "Deploy?", "--id", "d")
    no(hitl, "d", "not today")
    assert asking.end() == 1
    assert asking.lines == []
    assert "bob" in asking.errors[-1]
    assert asking.errors[-1].endswith("not today")
    assert "not today" in hitl.fails(1, "ask", "Deploy?", "--id", "d", code="run-failed")


@pytest.mark.parametrize(
    ("options", "code", "shown", "said"),
    [
        ([], 5, "", "was not answered before its deadline"),
        (["--on-deadline", "reject"], 1, "", "that means no"),
        (["--on-deadline", "approve"], 0, "true\n", "that means yes"),
        (["--on-deadline-value", '{"a":  1}'], 0, '{"a":1}\n', "that means yes"),
        (["--choice", "ship", "--choice", "hold", "--on-deadline-value", "hold"], 0, "hold\n", "yes"),
    ],
)
def test_the_deadline_means_what_was_said(
    hitl: Hitl, options: list[str], code: int, shown: str, said: str
) -> None:
    for args in (["Deploy?", *options, "--deadline", "300ms", "--id", "d"], ["--id", "d"]):
        done = hitl.run("ask", *args)
        assert (done.returncode, done.stdout) == (code, shown)
        assert said in done.stderr


@pytest.mark.parametrize(
    ("question", "data", "shown"),
    [
        ({"form": TEXT}, "high", "high\n"),
        ({"form": TEXT}, " two\nlines\t", " two\nlines\t\n"),
        ({"form": TEXT}, "\x1b[31m審批", "\x1b[31m審批\n"),
        ({"form": INTEGER}, 42, "42\n"),
        ({"form": {}}, {"a": [1, None]}, '{"a":[1,null]}\n'),
        ({}, False, "false\n"),
        ({"choices": ("roll back", "go on")}, "roll back", "roll back\n"),
    ],
)
def test_a_text_is_printed_as_it_is_and_anything_else_as_compact_json(
    hitl: Hitl, question: dict[str, Any], data: Any, shown: str
) -> None:
    asks(hitl, "a", **question)
    yes(hitl, "a", data=data)
    assert hitl.ok("ask", "--id", "a") == shown


def test_of_a_choice_with_a_form_the_data_is_printed_and_json_has_both(hitl: Hitl) -> None:
    form = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
    hitl.ok("ask", "?", "--id", "a", "--choice", "some", "--choice", "all", "--form", form, "--no-wait")
    hitl.ok("answer", "a", "some", "--set", "n=3", "--comment", "for now", "--as", "bob")
    assert hitl.ok("ask", "--id", "a") == '{"n":3}\n'
    document = hitl.json("ask", "--id", "a")
    assert document.pop("at").endswith("Z")
    assert document == {
        "id": "a",
        "state": "resolved",
        "outcome": "approved",
        "data": {"n": 3},
        "choice": "some",
        "by": "bob",
        "via": "cli",
        "comment": "for now",
        "reason": None,
        "expired": False,
        "arguments": None,
        "arguments_digest": None,
        "changed": False,
        "valid_until": None,
        "votes": [],
    }


def test_json_is_one_document_whatever_comes_of_it(hitl: Hitl) -> None:
    pending = json.loads(hitl.run("ask", "?", "--id", "a", "--timeout", "1ms", "--json").stdout)
    assert (pending["state"], pending["outcome"], pending["expired"]) == ("pending", None, False)
    assert hitl.json("ask", "--id", "a", "--no-wait")["id"] == "a"
    no(hitl, "a", "no")
    rejected = hitl.run("ask", "--id", "a", "--json")
    assert rejected.returncode == 1
    assert json.loads(rejected.stdout)["reason"] == "no"


def test_it_works_in_a_script(hitl: Hitl) -> None:
    script = """
        hitl ask 'Deploy?' --id deploy && echo deployed
        hitl ask 'Delete all?' --id delete && echo deleted
        amount=$(hitl ask 'How much?' --id amount --form '{"type": "integer", "maximum": 500}')
        echo "$? amount=$amount"
        set -e
        hitl ask 'Go on?' --id go-on
        echo went on
    """
    process = WorkerProcess(
        ["bash", "-c", script],
        {**hitl.env, "PATH": f"{Path(HITL).parent}:{hitl.env['PATH']}"},
        hitl.folder,
    )
    hitl.workers.append(process)
    process.complained("Request deploy")
    yes(hitl, "deploy")
    process.complained("Request delete")
    no(hitl, "delete", "no")
    process.complained("Request amount")
    yes(hitl, "amount", data=120)
    process.complained("Request go-on")
    no(hitl, "go-on", "no")
    assert process.process.wait(timeout=PATIENCE_S) == 1
    wait_until(lambda: len(process.lines) >= 3)
    assert process.lines == ["true", "deployed", "0 amount=120"]


def test_standard_input_is_left_to_the_script_unless_it_is_the_prompt(hitl: Hitl) -> None:
    script = f"{HITL} ask '?' --id a --no-wait; {HITL} ask - --id b --no-wait < prompt; cat"
    (hitl.folder / "prompt").write_text("# Deploy?\n\nThe **new** one.\n")
    done = subprocess.run(
        ["bash", "-c", script],
        env=hitl.env,
        cwd=hitl.folder,
        input="rest",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "a\nb\nrest"
    question = question_of(promise(hitl, "b"))
    assert question is not None
    assert (question.prompt, question.title) == ("# Deploy?\n\nThe **new** one.\n", "Deploy?")


# On the wire


def test_a_question_is_a_promise_of_its_own_that_needs_no_worker(hitl: Hitl) -> None:
    (hitl.folder / "details.json").write_text('{"diff": "http://x"}')
    options = ["--details", "@details.json", "--to", "ops", "--to", "eve", "--approvals", "2", "--no-self"]
    options += ["--key", "k", "--priority", "high", "--tag", "team=core", "--link", "https://example.org/1"]
    hitl.ok("ask", "Deploy?", "--id", "d", "--no-wait", *options, "--deadline", "1h")
    made = promise(hitl, "d")
    assert made.tags == {
        "resonate:external": "true",
        "resonate:scope": "global",
        "resonate:origin": "d",
        "resonate:branch": "d",
        "resonate:parent": "d",
        "hitl:request": "1",
        "hitl:assignee:ops": "1",
        "hitl:assignee:eve": "1",
        "hitl:quorum": "1",
        "hitl:key": "k",
        "team": "core",
    }
    assert made.timeout_at - made.created_at == pytest.approx(3_600_000, abs=1_000)
    assert headers_of(made.param)["hitl:by"] == "ada"
    question = question_of(made)
    assert question is not None
    assert (question.details, question.approvals, question.allow_self) == ({"diff": "http://x"}, 2, False)
    [item] = hitl.json("pending")
    assert (item["id"], item["prompt"]) == ("d", "Deploy?")


def test_it_says_that_nobody_is_notified_until_a_worker_is_there(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(
        'gateway = "https://hitl.example.org"\n[people.bob]\nnotify = ["console"]\n'
        '[groups.ops]\nmembers = ["ann", "bob"]\n'
    )
    places: list[list[str]] = [[]]
    if hitl.on_a_file:
        places.append(["-S", server(hitl).said("serving").split(" on ")[1].split()[0]])

    def asked(place: list[str], to: str) -> str:
        return hitl.run("ask", "Deploy?", "--to", to, "--no-wait", *place).stderr

    for place in places:
        assert "hitl worker" in asked(place, "bob")
        assert "hitl worker" not in asked(place, "cy")  # nobody could be
        said = asked(place, "group:ops")
        assert "ann" in said
        assert "bob" not in said
    worker = hitl.worker()
    for place in places:
        assert len(asked(place, "bob").splitlines()) == 1
    worker.said("bob: Deploy?")


def test_no_wait_prints_the_id_alone_asked_or_answered(hitl: Hitl) -> None:
    done = hitl.run("ask", "?", "--no-wait")
    id = done.stdout.strip()
    assert done.stdout == f"{id}\n"
    assert f"hitl approve {id}" in done.stderr
    yes(hitl, id)
    assert hitl.ok("ask", "?", "--id", id, "--no-wait") == f"{id}\n"


# Durable over the script


def test_the_same_id_finds_the_same_question_and_then_its_answer(hitl: Hitl) -> None:
    first = start(hitl, "Deploy?", "--id", "d", "--to", "bob")
    second = start(hitl, "Deploy?", "--id", "d", "--to", "bob", "--deadline", "5d", "--as", "eve")
    third = start(hitl, "--id", "d")
    assert "bob" in second.errors[0]
    yes(hitl, "d")
    for asking in (first, second, third):
        assert asking.end() == 0
        assert asking.lines == ["true"]
    assert len(asked(hitl)) == 1
    done = hitl.run("ask", "Deploy?", "--id", "d", "--to", "bob")
    assert (done.returncode, done.stdout) == (0, "true\n")
    assert "bob" in done.stderr


def test_another_question_under_the_same_id_is_a_conflict_that_says_what_differs(hitl: Hitl) -> None:
    asks(hitl, "d", to=("bob",))
    complaint = hitl.fails(
        4, "ask", "Deploy 2?", "--id", "d", "--to", "eve", "--no-self", code="question-differs"
    )
    assert 'prompt: it was "?", and is now "Deploy 2?"' in complaint
    assert 'to: it was ["bob"], and is now ["eve"]' in complaint
    assert "allowSelf: it was null, and is now false" in complaint
    question = question_of(promise(hitl, "d"))
    assert question is not None
    assert question.prompt == "?"


def test_a_group_is_the_same_where_the_settings_do_not_know_it(hitl: Hitl) -> None:
    hitl.ok("ask", "Deploy?", "--id", "d", "--to", "ops", "--no-wait")
    (hitl.folder / "hitl.toml").write_text(OPS)
    hitl.ok("ask", "Deploy?", "--id", "d", "--to", "ops", "--no-wait")
    hitl.ok("ask", "Deploy?", "--id", "d", "--to", "group:ops", "--no-wait")
    hitl.ok("approve", "d", "--as", "cy")


def test_an_id_that_is_taken_by_something_else_is_a_conflict(hitl: Hitl) -> None:
    hitl.ok("start", "run")
    bare_promise(hitl, "bare")
    for args in (["?", "--id"], ["--id"]):
        assert 'the run approval("run")' in hitl.fails(4, "ask", *args, "run", code="already-exists")
        hitl.fails(4, "ask", *args, "bare", code="already-exists")


def test_what_was_never_asked_cannot_be_waited_for(hitl: Hitl) -> None:
    if hitl.on_a_file:
        hitl.fails(6, "ask", "--id", "nope", code="file-unusable")
    hitl.create()
    hitl.fails(3, "ask", "--id", "nope", code="not-found")


def test_of_many_that_ask_at_once_one_creates_the_question_and_all_get_its_answer(hitl: Hitl) -> None:
    hitl.create()
    many = [hitl.popen("ask", "Deploy?", "--id", "d") for _ in range(4)]
    wait_until(lambda: asked(hitl))
    yes(hitl, "d")
    ends = [process.communicate(timeout=PATIENCE_S) for process in many]
    assert [process.returncode for process in many] == [0] * 4
    assert {out for out, _ in ends} == {"true\n"}
    assert sum(err.startswith("Request d:") for _, err in ends) == 1
    assert len(asked(hitl)) == 1


def test_a_question_outlives_a_killed_script(hitl: Hitl) -> None:
    asking = start(hitl, "Deploy?", "--id", "d")
    asking.kill()
    again = start(hitl, "Deploy?", "--id", "d")
    yes(hitl, "d")
    assert again.end() == 0
    asking = start(hitl, "And then?", "--id", "e")
    asking.kill()
    no(hitl, "e", "no")
    assert hitl.run("ask", "And then?", "--id", "e").returncode == 1


# What was approved is what runs


def test_a_digest_binds_the_question_to_the_content_of_a_file(hitl: Hitl) -> None:
    tar = hitl.folder / "build.tar"
    tar.write_bytes(b"one" * 1_000_000)
    sha = hashlib.sha256(tar.read_bytes()).hexdigest()
    command = ["ask", "Deploy?", "--id", "d", "--digest"]
    done = hitl.run(*command, "build.tar", "--no-wait")
    assert f"sha256 {sha} build.tar" in done.stderr
    yes(hitl, "d")
    assert hitl.ok(*command, "build.tar") == "true\n"
    tar.rename(hitl.folder / "moved.tar")
    assert hitl.ok(*command, "moved.tar") == hitl.ok("ask", "--id", "d", "--digest", "moved.tar") == "true\n"
    tar.write_bytes(b"two")
    other = hashlib.sha256(b"two").hexdigest()
    for args in ([*command, "build.tar"], ["ask", "--id", "d", "--digest", "build.tar"]):
        complaint = hitl.fails(4, *args, code="question-differs")
        assert sha in complaint
        assert other in complaint
    hitl.fails(4, "ask", "Deploy?", "--id", "d", code="question-differs")


def test_a_file_that_changes_while_it_is_asked_about_is_not_what_was_approved(hitl: Hitl) -> None:
    tar = hitl.folder / "build.tar"
    tar.write_text("one")
    asking = start(hitl, "Deploy?", "--id", "d", "--digest", "build.tar")
    tar.write_text("two")
    yes(hitl, "d")
    assert asking.end() == 4
    assert asking.lines == []


@pytest.mark.parametrize("path", ["missing", ".", "-", "/dev/null", "fifo"])
def test_a_digest_is_of_a_file_that_can_be_read_again(hitl: Hitl, path: str) -> None:
    os.mkfifo(hitl.folder / "fifo")
    hitl.fails(2, "ask", "?", "--digest", path, code="bad-file")
    assert not hitl.database.exists()


# Leaving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_waiting_and_leaves_the_question_standing(
    hitl: Hitl, number: signal.Signals
) -> None:
    asking = start(hitl, "Deploy?", "--id", "d")
    asking.process.send_signal(number)
    assert asking.end() == -number  # 128 + number, as a shell has it
    assert asking.lines == []
    assert "`hitl ask --id d` waits for it again" in asking.errors[-1]
    yes(hitl, "d")
    assert hitl.ok("ask", "--id", "d") == "true\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_with_cancel_on_exit_a_signal_takes_the_question_back(hitl: Hitl, number: signal.Signals) -> None:
    asking = start(hitl, "Deploy?", "--id", "d", "--cancel-on-exit")
    asking.process.send_signal(number)
    assert asking.end() == -number
    made = promise(hitl, "d")
    assert (made.state, audit_of(made).by) == ("rejected_canceled", "ada")
    assert "canceled" in hitl.fails(1, "ask", "--id", "d", code="run-failed")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_128_and_its_number_to_a_shell(hitl: Hitl, number: signal.Signals, code: int) -> None:
    script = f"sh -c 'echo $$; exec {HITL} ask ? --id d'; echo code $?"
    shell = Asking(["bash", "-c", script], hitl.env, hitl.folder)
    hitl.workers.append(shell)
    shell.complained("Request ")
    os.kill(int(shell.lines[0]), number)
    shell.end()
    assert shell.lines[1:] == [f"code {code}"]


def test_ctrl_c_ends_the_script_and_is_taken_for_no_answer(hitl: Hitl) -> None:
    script = f"if {HITL} ask 'Deploy?' --id d; then echo YES; else echo ELSE; fi; echo AFTER"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        env=hitl.env,
        cwd=hitl.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stderr is not None
    assert "Request " in shell.stderr.readline()
    os.killpg(shell.pid, signal.SIGINT)  # as a terminal does
    shown, said = shell.communicate(timeout=PATIENCE_S)
    assert (shell.returncode, shown) == (-signal.SIGINT, "")
    assert "hitl ask --id d" in said
    yes(hitl, "d")  # which is still open


def test_a_timeout_ends_the_waiting_and_leaves_the_question_standing(hitl: Hitl) -> None:
    hitl.fails(5, "ask", "Deploy?", "--id", "d", "--timeout", "100ms", code="timed-out")
    assert promise(hitl, "d").state == "pending"
    hitl.fails(5, "ask", "--id", "d", "--timeout", "100ms", "--cancel-on-exit", code="timed-out")
    assert promise(hitl, "d").state == "rejected_canceled"


def test_a_question_can_be_taken_back_from_elsewhere(hitl: Hitl) -> None:
    asking = start(hitl, "Deploy?", "--id", "d", "--to", "bob")
    assert hitl.ok("cancel", "d", "--reason", "too late") == "request d canceled\n"
    assert asking.end() == 1
    assert "ada" in asking.errors[-1]
    assert asking.errors[-1].endswith("too late")
    assert hitl.ok("cancel", "d") == "request d was already canceled\n"


# Who may answer


def test_several_must_approve_and_whoever_waits_settles_it_where_the_last_voter_died(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(OPS)
    asking = start(hitl, "Deploy?", "--id", "d", "--to", "ops", "--approvals", "2")
    assert "group:ops" in asking.errors[0]
    hitl.ok("approve", "d", "--as", "ann")
    hitl.fails(7, "approve", "d", "--as", "zoe", code="not-assignee")
    with hitl.client() as client:
        audit = Audit(id="v", by="bob", via="test", at=client.now())
        vote = Vote(by="bob", verdict="approve", at=client.now(), data=True)
        record_vote(client, promise(hitl, "d"), vote, audit, [])
    assert asking.end() == 0
    assert asking.lines == ["true"]
    assert [vote["by"] for vote in hitl.json("ask", "--id", "d")["votes"]] == ["ann", "bob"]


def test_with_no_self_whoever_asks_may_not_answer(hitl: Hitl) -> None:
    asks(hitl, "d", allow_self=False)
    hitl.fails(7, "approve", "d", code="self-approval")
    yes(hitl, "d")


@pytest.mark.parametrize(
    ("question", "data"),
    [({"form": INTEGER}, "many"), ({"choices": ("a", "b")}, "c"), ({"choices": ("a",)}, None)],
)
def test_what_another_tool_settled_it_with_is_no_yes_unless_it_is_an_answer(
    hitl: Hitl, question: dict[str, Any], data: Any
) -> None:
    asks(hitl, "a", **question)
    with hitl.client() as client:
        settle = {"id": "a", "state": "resolved", "value": encode(data)}
        client.call_many([ProtocolRequest("promise.settle", settle)])
    hitl.fails(1, "ask", "--id", "a", code="unreadable")


# What a person sees


def test_at_a_terminal_it_says_who_answered_and_what_they_remarked(hitl: Hitl) -> None:
    asks(hitl, "a")
    with Terminal([HITL, "ask", "--id", "a"], hitl.env, hitl.folder) as terminal:
        terminal.shows("Ctrl-C stops waiting")
        yes(hitl, "a", comment="fine by me")
        assert terminal.end() == 0
        shown = terminal.screen()
    assert "a was approved by bob via test" in shown
    assert ": fine by me" in shown
    assert "true" in map(str.strip, shown.splitlines())


def test_nothing_that_was_asked_or_answered_is_obeyed_by_a_terminal(hitl: Hitl) -> None:
    evil = "\x1b]0;title\x07\x1b[31mred\u202e[bold]\r\nx"
    hitl.ok("ask", evil, "--id", "a", "--to", f"bob{evil}", "--form", json.dumps(TEXT), "--no-wait")
    asked_for = on_terminal(hitl, 100, "ask", "--id", "a", "--timeout", "1ms")
    yes(hitl, "a", by=f"bob{evil}", data=evil)
    for shown in (asked_for, on_terminal(hitl, 100, "ask", "--id", "a")):
        for mark in ("\x1b", "\x07", "\u202e"):
            assert mark not in shown
    piped = hitl.run("ask", "--id", "a")
    assert "\x1b" not in piped.stderr
    asks(hitl, "b")
    no(hitl, "b", evil)
    assert "\x1b" not in hitl.fails(1, "ask", "--id", "b", code="run-failed")


@pytest.mark.parametrize("reader", ["stdout", "stderr"])
def test_a_reader_that_has_gone_turns_no_no_into_a_yes(hitl: Hitl, reader: str) -> None:
    asks(hitl, "a")
    no(hitl, "a", "no")
    ours, theirs = os.pipe()
    os.close(ours)
    codes = [
        forked.run(
            [HITL, "ask", "?", *args],
            env=hitl.env,
            stdout=theirs if reader == "stdout" else subprocess.DEVNULL,
            stderr=theirs if reader == "stderr" else subprocess.DEVNULL,
            check=False,
        ).returncode
        for args in (["--id", "a", "--json"], ["--id", "b", "--timeout", "1ms"])
    ]
    os.close(theirs)
    assert codes == [1, 5]


def test_closed_streams_are_no_failure_and_keep_notes_off_stdout(hitl: Hitl) -> None:
    asks(hitl, "a")
    yes(hitl, "a")
    unread = subprocess.run(
        f"{HITL} --debug ask - <&-", shell=True, env=hitl.env, capture_output=True, text=True, check=False
    )
    assert unread.returncode == 2
    assert unread.stderr.endswith("code: bad-usage\n")
    for redirect, shown in (("2>&-", "true\n"), (">&-", ""), ("<&-", "true\n")):
        done = subprocess.run(
            f"{HITL} ask '?' --id a {redirect}",
            shell=True,
            env=hitl.env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, shown)


# What cannot be asked

DEEP = "[" * 5_000 + "]" * 5_000


@pytest.mark.parametrize(
    "args",
    [
        [],
        [""],
        [" \n#\n"],
        ["?", "--id", ""],
        ["?", "--id", "a:b"],
        ["?", "--id", "a\nb"],
        ["--id", "a:b"],
        ["--id", "a", "--to", "bob"],
        ["--id", "a", "--tag", "a=b"],
        ["?", "--details", "{"],
        ["?", "--details", "@missing"],
        ["?", "--details", DEEP],
        ["?", "--details", '{"__py_pickle": "gASV"}'],
        ["?", "--details", '[{"__type": "error"}]'],
        ["?", "--form", "{"],
        ["?", "--form", "[]"],
        ["?", "--form", '{"type": "intger"}'],
        ["?", "--choice", "a", "--choice", "a"],
        ["?", "--choice", " "],
        ["?", "--to", ""],
        ["?", "--approvals", "0"],
        ["?", "--approvals", "2", "--to", "bob"],
        ["?", "--as", "bob", "--to", "bob", "--no-self"],
        ["?", "--deadline", "soon"],
        ["?", "--timeout", "0s"],
        ["?", "--on-deadline", "maybe"],
        ["?", "--on-deadline", "reject", "--on-deadline-value", "1"],
        ["?", "--on-deadline-value", "{"],
        ["?", "--form", '{"type": "integer"}', "--on-deadline", "approve"],
        ["?", "--form", '{"type": "integer"}', "--on-deadline-value", '"x"'],
        ["?", "--choice", "a", "--on-deadline", "approve"],
        ["?", "--choice", "a", "--form", "{}", "--on-deadline-value", '"a"'],
        ["?", "--choice", "a", "--on-deadline-value", '"b"'],
        ["?", "--priority", "extreme"],
        ["?", "--tag", "x"],
        ["?", "--tag", "=x"],
        ["?", "--tag", "team=core", "--tag", "team=web"],
        ["?", "--tag", "hitl:request=0"],
        ["?", "--tag", "resonate:target=poll://any@default"],
        ["?", "--link", "javascript:alert(1)"],
        ["?", "--as", " "],
        ["?", "--as", "group:ops"],
        ["?", "--no-wait", "--timeout", "1s"],
        ["?", "--no-wait", "--cancel-on-exit"],
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_asked(
    hitl: Hitl, args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hitl", "ask", *args])
    monkeypatch.setenv("HITL_SERVER", hitl.url)
    monkeypatch.chdir(hitl.folder)
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(("hitl: ", "Usage: "))
    assert not hitl.database.exists() or not asked(hitl)


def test_details_may_be_large_but_not_huge(hitl: Hitl) -> None:
    details = hitl.folder / "details.json"
    details.write_text(json.dumps("x" * 900_000))
    hitl.ok("ask", "?", "--id", "a", "--details", "@details.json", "--no-wait")
    details.write_text(json.dumps("x" * 999_990))
    assert "1,000,000" in hitl.fails(2, "ask", "?", "--details", "@details.json", code="too-large")
    with details.open("wb") as file:
        file.truncate(100_000_000)
    assert "1,000,000" in hitl.fails(2, "ask", "?", "--details", "@details.json", code="too-large")
    assert "1,000,000" in hitl.fails(2, "ask", "-", code="too-large", stdin="x" * 1_000_001)
    assert len(asked(hitl)) == 1


def test_a_server_that_is_not_there_is_said_at_once(hitl: Hitl) -> None:
    hitl.fails(6, "ask", "?", "-S", "http://127.0.0.1:9", code="server-unreachable")


@pytest.mark.only("file", reason="psycopg imports asyncio")
def test_asking_a_file_imports_neither_the_sdk_nor_asyncio_nor_rich(hitl: Hitl) -> None:
    code = (
        "import sys; sys.argv = ['hitl', 'ask', '?', '--no-wait'];"
        "from hitl_cli.cli.app import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('resonate', 'aiohttp', 'asyncio', 'rich.console', 'jsonschema_rs')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=hitl.env, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_script_uses_an_approval_once(hitl: Hitl) -> None:
    hitl.ok("ask", "Deploy?", "--id", "a", "--once", "--no-wait")
    hitl.ok("approve", "a", "--as", "bob")
    assert hitl.ok("ask", "Deploy?", "--id", "a", "--once") == "true\n"
    told = hitl.fails(4, "ask", "Deploy?", "--id", "a", "--once", code="approval-used")
    assert "ada" in told
    assert "by ada via cli" in hitl.ok("show", "a")
    assert [entry["kind"] for entry in hitl.json("history", "a")] == ["decision", "use"]


@pytest.mark.parametrize(
    ("options", "state", "code", "result"),
    [
        (("--deadline", "1ms"), "expired", 5, None),
        (("--deadline", "1ms", "--on-deadline", "reject"), "rejected", 1, None),
        (("--deadline", "1ms", "--on-deadline", "approve"), "completed", 0, True),
        (("--deadline", "1ms", "--on-deadline-value", "7"), "completed", 0, 7),
        ((), "rejected", 1, None),
        ((), "canceled", 1, None),
        ((), "completed", 0, True),
    ],
)
def test_the_no_of_a_person_or_the_deadline_is_an_outcome_and_no_failure(
    hitl: Hitl, options: tuple[str, ...], state: str, code: int, result: object
) -> None:
    hitl.ok("ask", "Go?", "--id", "q", "--no-wait", *options)
    end = {"rejected": "reject", "canceled": "cancel", "completed": "approve"}.get(state)
    if end and not options:
        hitl.ok(end, "q")
    seen = hitl.json("status", "q")
    assert (seen["state"], seen["result"], seen["failure"]) == (state, result, None)
    assert f"q {state}" in hitl.ok("status", "q").splitlines()[0]
    waited = hitl.run("wait", "q", "--json")
    assert (waited.returncode, json.loads(waited.stdout)["state"]) == (code, state)
    shown = hitl.json("show", "q")["decision"]
    assert shown["outcome"] == {"completed": "approved"}.get(state, state)
    assert hitl.run("cancel", "q").returncode == (5 if options else 4 if state != "canceled" else 0)
