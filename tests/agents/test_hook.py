"""`hitl hook`: a coding agent's tool call is asked once, and never allowed by mistake."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.wire import encode
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from tests.agents.fake_model import FakeModel
from tests.conftest import HITL, PATIENCE_S, wait_until
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Hitl

CALL: dict[str, Any] = {
    "session_id": "s-1",
    "transcript_path": "/tmp/t",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "git push origin main", "description": "Push"},
    "tool_use_id": "toolu_1",
    "cwd": "/srv/app",
}


def hook(hitl: Hitl, *args: str, agent: str = "claude", wait: str = "50ms", **changed: Any) -> Any:
    """Run the hook for a call, and return what it answers."""
    said = hitl.ok("hook", agent, "--wait", wait, *args, stdin=json.dumps(CALL | changed))
    return json.loads(said)["hookSpecificOutput"] if said else None


def request(hitl: Hitl) -> dict[str, Any]:
    [item] = hitl.json("pending", "--all")
    return dict(item)


def test_a_call_is_asked_once_however_often_the_hook_runs_and_a_late_answer_counts(hitl: Hitl) -> None:
    for then, answer in (("ask", "ask"), ("deny", "deny"), ("defer", "defer")):
        assert hook(hitl, "--then", then, "--to", "lead")["permissionDecision"] == answer
    item = request(hitl)
    assert "git push origin main" in item["prompt"]
    assert (item["to"], item["tags"]) == (["lead"], {"agent": "claude", "tool": "Bash"})
    shown = hitl.json("show", item["id"])
    assert shown["arguments"] == {"tool": "Bash", "input": CALL["tool_input"], "cwd": "/srv/app"}
    hitl.ok("approve", item["id"], "--as", "lead")
    allowed = hook(hitl, "--to", "lead")
    assert (allowed["permissionDecision"], allowed["permissionDecisionReason"]) == (
        "allow",
        "approved by lead",
    )


def test_a_rejection_is_told_to_the_agent_with_its_reason(hitl: Hitl) -> None:
    hook(hitl)
    hitl.ok("reject", request(hitl)["id"], "--reason", "use a branch", "--as", "lead")
    refused = hook(hitl)
    assert refused["permissionDecision"] == "deny"
    assert "use a branch" in refused["permissionDecisionReason"]


def test_what_is_asked_back_is_told_to_the_agent_while_nobody_has_decided(hitl: Hitl) -> None:
    assert "asks" not in hook(hitl, "--then", "deny")["permissionDecisionReason"]
    with hitl.client() as client:
        Inbox(client, Actor(person="lead", via="test")).ask_back(request(hitl)["id"], "Which branch?")
    assert "lead asks: Which branch?" in hook(hitl, "--then", "deny")["permissionDecisionReason"]


def test_a_deadline_that_passed_is_no(hitl: Hitl) -> None:
    assert hook(hitl, "--deadline", "1ms", wait="30s")["permissionDecision"] == "deny"


def test_an_answer_ends_the_wait(hitl: Hitl) -> None:
    hitl.create()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(hook(hitl, wait="60s")))
    thread.start()
    wait_until(lambda: hitl.json("pending", "--all"))
    hitl.ok("approve", request(hitl)["id"])
    thread.join(PATIENCE_S)
    assert [one["permissionDecision"] for one in answers] == ["allow"]


@pytest.mark.parametrize("event", ["PreToolUse", "PermissionRequest"])
def test_a_person_changes_the_input_and_the_agent_is_given_it(hitl: Hitl, event: str) -> None:
    other = {"command": "git push origin a-branch", "description": "Push"}
    hook(hitl, hook_event_name=event)
    said = {"tool": "Bash", "cwd": "/srv/app", "input": other}
    hitl.ok("approve", request(hitl)["id"], "--data", json.dumps(said), "--as", "lead")
    allowed = hook(hitl, hook_event_name=event)
    assert (allowed if event == "PreToolUse" else allowed["decision"])["updatedInput"] == other


def test_codex_takes_no_changed_input(hitl: Hitl) -> None:
    hook(hitl, agent="codex", hook_event_name="PermissionRequest")
    assert hitl.json("show", request(hitl)["id"])["editable"] is None


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_use_id": "toolu_2"},
        {"session_id": "s-2"},
        {"tool_use_id": None, "tool_input": {"command": "git push -f"}},
    ],
)
def test_a_yes_counts_for_its_own_call_only(hitl: Hitl, changed: dict[str, Any]) -> None:
    hook(hitl)
    hitl.ok("approve", request(hitl)["id"])
    assert hook(hitl, **changed)["permissionDecision"] == "ask"


def test_the_same_id_for_another_call_is_refused(hitl: Hitl) -> None:
    hook(hitl)
    hitl.ok("approve", request(hitl)["id"])
    refused = hook(hitl, tool_input={"command": "rm -rf /"})
    assert refused["permissionDecision"] == "deny"


def test_a_call_without_an_id_is_known_by_its_turn_and_content(hitl: Hitl) -> None:
    call: dict[str, Any] = {"tool_use_id": None, "hook_event_name": "PermissionRequest", "turn_id": "t1"}
    for agent in ("claude", "codex"):
        assert hook(hitl, agent=agent, **call) is None  # the agent's own prompt
        [item] = [one for one in hitl.json("pending", "--all") if one["id"].startswith(agent)]
        hitl.ok("approve", item["id"])
        assert hook(hitl, agent=agent, **call)["decision"] == {"behavior": "allow"}
        assert (
            hook(hitl, "--then", "deny", agent=agent, **call | {"turn_id": "t2"})["decision"]["behavior"]
            == "deny"
        )


# Standing rules


def test_a_rule_answers_the_hook_and_what_is_not_certain_waits_for_a_person(hitl: Hitl) -> None:
    hitl.ok("rule", "add", "--tool", "Bash", "--match", "git push origin*", "--as", "lead")
    hitl.ok(
        "rule", "add", "--tool", "Bash", "--match", "git push -f*", "--deny", "--reason", "no", "--as", "lead"
    )
    allowed = hook(hitl)
    assert (allowed["permissionDecision"], "lead" in allowed["permissionDecisionReason"]) == ("allow", True)
    refused = hook(hitl, tool_use_id="f", tool_input={"command": "git push -f origin"})
    assert refused["permissionDecision"] == "deny"
    assert "no" in refused["permissionDecisionReason"]
    for number, tool_input in enumerate(
        [
            {"command": "git push origin main; rm -rf /"},
            {"command": "git push origin main", "dangerouslyDisableSandbox": True},
        ]
    ):
        assert hook(hitl, tool_use_id=f"u{number}", tool_input=tool_input)["permissionDecision"] == "ask"
    assert {one["via"] for one in hitl.json("history")} == {"rule"}


def test_the_agent_asks_under_a_name_of_its_own_so_that_a_rule_of_its_user_counts(hitl: Hitl) -> None:
    hitl.env |= {"HITL_AS": "ada", "RESONATE_TOKEN": "for another server"}
    hitl.ok("rule", "add", "--tool", "Bash", "--match", "git push*")
    assert hook(hitl)["permissionDecision"] == "allow"
    [entry] = hitl.json("history")
    assert (entry["by"], hitl.json("show", entry["id"])["from"]) == ("ada", "claude (ada)")


def test_an_approval_for_a_time_is_for_exactly_this_call_in_this_folder(hitl: Hitl) -> None:
    hook(hitl)
    item = request(hitl)
    where = {"tool": "Bash", "input.command": "git push origin main", "cwd": "/srv/app"}
    assert hitl.json("show", item["id"])["offer"] == {"where": where, "longest_s": 28_800}
    hitl.ok("approve", item["id"], "--for", "8h", "--as", "lead")
    assert hook(hitl)["permissionDecision"] == "allow"
    assert hook(hitl, tool_use_id="next", session_id="other")["permissionDecision"] == "allow"
    for changed in ({"cwd": "/srv/other"}, {"tool_input": {"command": "git push origin main -f"}}):
        assert hook(hitl, tool_use_id=str(changed), **changed)["permissionDecision"] == "ask"


@pytest.mark.parametrize(
    ("tool", "tool_input", "where"),
    [
        ("Write", {"file_path": "/srv/a", "content": "x"}, {"input.file_path": "/srv/a"}),
        ("WebFetch", {"url": "https://a.org/b", "prompt": "x"}, {"input.url": "https://a.org/b"}),
        ("mcp__shop__refund", {"amount": 20}, {"input": {"amount": 20}}),
        ("Bash", {"command": "ls; ls"}, None),
        ("Bash", {"command": "ls *"}, None),
        ("Bash", {"command": "ls", "dangerouslyDisableSandbox": True}, None),
        ("Write", {"file_path": "/srv/*", "content": "x"}, None),
        ("Write", {"file_path": "../a", "content": "x"}, None),
        ("Write", {"content": "x"}, None),
        ("*", {"amount": 20}, None),
        ("Huge", {"text": "x" * 5_000}, None),
    ],
)
def test_what_is_offered_is_exact_or_nothing(
    hitl: Hitl, tool: str, tool_input: dict[str, Any], where: dict[str, Any] | None
) -> None:
    assert hook(hitl, tool_name=tool, tool_input=tool_input)["permissionDecision"] == "ask"
    offer = hitl.json("show", request(hitl)["id"])["offer"]
    if where is None:
        assert offer is None
    else:
        assert offer["where"] == {"tool": tool, "cwd": "/srv/app", **where}


# Approving with a change


def test_a_changed_call_is_allowed_as_changed_each_time_and_makes_no_rule(hitl: Hitl) -> None:
    hook(hitl)
    id = request(hitl)["id"]
    hitl.fails(2, "approve", id, "--set", "input.command=git status", "--for", "1h", code="no-rule-offered")
    hitl.ok("approve", id, "--set", "input.command=git push origin topic", "--as", "lead")
    for _ in range(2):
        allowed = hook(hitl)
        assert allowed["permissionDecision"] == "allow"
        assert allowed["updatedInput"] == {"command": "git push origin topic", "description": "Push"}
    refused = hook(hitl, tool_input={"command": "git push origin topic", "description": "Push"})
    assert refused["permissionDecision"] == "deny"


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"command": "ls"}, "tool": "Write", "cwd": "/srv/app"},
        {"input": {"command": "ls"}, "tool": "Bash", "cwd": "/"},
        {"input": {"command": "ls", "description": "Push", "dangerouslyDisableSandbox": True}},
    ],
)
def test_nothing_else_can_be_changed_not_even_past_all_checks(hitl: Hitl, changed: dict[str, Any]) -> None:
    hook(hitl)
    id = request(hitl)["id"]
    hitl.fails(2, "approve", id, "--data", json.dumps(changed))
    with hitl.client() as client:
        settle = {"id": id, "state": "resolved", "value": encode(changed)}
        as_promise(client.call_many([ProtocolRequest("promise.settle", settle)])[0])
    assert hook(hitl)["permissionDecision"] == "deny"


def test_a_long_input_is_asked_as_it_is(hitl: Hitl) -> None:
    hook(hitl, tool_name="Write", tool_input={"file_path": "/srv/a", "content": "x" * 300_000})
    id = request(hitl)["id"]
    assert hitl.json("show", id)["editable"] is None
    hitl.ok("approve", id)


QUESTIONS = {
    "questions": [
        {
            "question": "Which database?",
            "header": "DB",
            "options": [{"label": "SQLite"}, {"label": "Postgres"}],
        },
        {
            "question": "Which checks?",
            "options": [{"label": "lint", "description": "fast"}, {"label": "types"}],
            "multiSelect": True,
        },
    ]
}


def test_a_question_of_the_agent_is_answered_by_a_form(hitl: Hitl) -> None:
    call: dict[str, Any] = {"tool_name": "AskUserQuestion", "tool_input": QUESTIONS}
    hook(hitl, **call)
    hitl.ok("approve", request(hitl)["id"], "--data", '{"q1": "Postgres", "q2": ["lint", "types"]}')
    answered = hook(hitl, **call)
    assert answered["permissionDecision"] == "allow"
    assert answered["updatedInput"]["questions"] == QUESTIONS["questions"]
    assert answered["updatedInput"]["answers"] == {
        "Which database?": "Postgres",
        "Which checks?": "lint, types",
    }


NO_CALLS: list[Any] = [{}, CALL | {"tool_input": 7}, CALL | {"session_id": None}]


@pytest.mark.parametrize("stdin", ["", "nonsense", "[]", *map(json.dumps, NO_CALLS)])
def test_what_is_no_call_blocks(hitl: Hitl, stdin: str) -> None:
    done = hitl.run("hook", "claude", stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "args",
    [
        ("-S", "http://127.0.0.1:1"),
        ("-S", "nonsense"),
        ("--gateway", "http://127.0.0.1:1"),
        ("--gateway", "nonsense"),
        ("--to", " "),
    ],
)
def test_it_refuses_where_it_cannot_ask(hitl: Hitl, args: tuple[str, ...]) -> None:
    refused = hook(hitl, *args)
    assert refused["permissionDecision"] == "deny"
    assert refused["permissionDecisionReason"]


@pytest.mark.parametrize(
    "args", [("--wait", "soon"), ("--deadline", "x"), ("--then", "allow"), ("--unknown",)]
)
def test_a_wrong_option_blocks(hitl: Hitl, args: tuple[str, ...]) -> None:
    done = hitl.run("hook", "claude", *args, stdin=json.dumps(CALL))
    assert (done.returncode, done.stdout) == (2, "")


HOSTILE = "`x` **b** <script>alert(1)</script>\n# \x1b[31m\u202e" + "y" * 5_000


def test_what_an_agent_says_only_shows(hitl: Hitl) -> None:
    hook(hitl, tool_name=HOSTILE, tool_input={"command": HOSTILE})
    item = request(hitl)
    assert "\n" not in item["prompt"]
    assert len(item["prompt"]) < 300
    shown = hitl.ok("show", item["id"])
    assert "\x1b" not in shown
    assert hitl.json("show", item["id"])["arguments"]["input"]["command"] == HOSTILE


# Installing


def settings(hitl: Hitl) -> Path:
    return hitl.folder / ".claude" / "settings.json"


OTHERS = {
    "permissions": {"allow": ["Bash(ls)"]},
    "hooks": {
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "./mine.sh"}]}],
        "Stop": [{"hooks": [{"type": "command", "command": "./stop.sh"}]}],
    },
}


def test_the_hook_is_put_in_once_and_taken_out_and_all_else_stays(hitl: Hitl) -> None:
    path = settings(hitl)
    path.parent.mkdir()
    path.write_text(json.dumps(OTHERS))
    path.chmod(0o600)
    for _ in range(2):
        shown = hitl.ok("hook", "install", "claude", "--to", "it's me", "--wait", "2h", "--then", "defer")
        written = json.loads(path.read_text())
        theirs, ours = written["hooks"]["PreToolUse"]
        assert [theirs] == OTHERS["hooks"]["PreToolUse"]  # type: ignore[index]
        [entry] = ours["hooks"]
        command = shlex.split(entry["command"])
        assert command[1:-3] == ["hook", "claude", "--to", "it's me", "--wait", "2h", "--then", "defer"]
        assert command[-3:] == ["||", "exit", "2"]
        assert entry["timeout"] == 7_260
    assert {name: written[name] for name in ("permissions",)} == {"permissions": OTHERS["permissions"]}
    assert path.stat().st_mode & 0o777 == 0o600
    assert shown == ""  # the second time nothing changed
    assert hitl.ok("hook", "uninstall", "--dry-run")
    assert len(json.loads(path.read_text())["hooks"]["PreToolUse"]) == 2
    hitl.ok("hook", "uninstall", "claude")
    assert json.loads(path.read_text()) == OTHERS


@pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}', '{"hooks": {"PreToolUse": {}}}'])
def test_settings_that_cannot_be_read_stay_as_they_are(hitl: Hitl, text: str) -> None:
    path = settings(hitl)
    path.parent.mkdir()
    path.write_text(text)
    for command in ("install", "uninstall"):
        hitl.fails(2, "hook", command, code="bad-setting")
    assert path.read_text() == text


# The real agent

CLAUDE = os.environ.get("HITL_CLAUDE")


@pytest.mark.heavy
@pytest.mark.skipif(CLAUDE is None, reason="HITL_CLAUDE names no claude of @anthropic-ai/claude-code")
@pytest.mark.parametrize(("verdict", "made"), [("approve", True), ("reject", False)])
def test_the_real_agent_does_what_a_person_decided(hitl: Hitl, verdict: str, *, made: bool) -> None:
    hitl.create()
    model = FakeModel("Bash", {"command": "touch made", "description": "Make a file"})
    try:
        hitl.ok("hook", "install", "--matcher", "Bash", "--wait", "60s")
        run = begin(hitl, model, "-p", "do it")
        wait_until(lambda: hitl.json("pending", "--all"))
        hitl.ok(verdict, request(hitl)["id"], "--as", "lead")
        assert run.wait(PATIENCE_S * 2) == 0
        assert (hitl.folder / "made").exists() == made
    finally:
        model.stop()


@pytest.mark.heavy
@pytest.mark.skipif(CLAUDE is None, reason="HITL_CLAUDE names no claude of @anthropic-ai/claude-code")
def test_the_real_agent_runs_the_command_that_a_person_has_changed(hitl: Hitl) -> None:
    hitl.create()
    model = FakeModel("Bash", {"command": "touch made", "description": "Make a file"})
    try:
        hitl.ok("hook", "install", "--matcher", "Bash", "--wait", "60s")
        run = begin(hitl, model, "-p", "do it")
        wait_until(lambda: hitl.json("pending", "--all"))
        hitl.ok("approve", request(hitl)["id"], "--set", "input.command=touch changed", "--as", "lead")
        assert run.wait(PATIENCE_S * 2) == 0
        assert (hitl.folder / "changed").exists()
        assert not (hitl.folder / "made").exists()
    finally:
        model.stop()


@pytest.mark.heavy
@pytest.mark.skipif(CLAUDE is None, reason="HITL_CLAUDE names no claude of @anthropic-ai/claude-code")
def test_the_real_agent_ends_and_goes_on_with_its_session_once_it_is_decided(hitl: Hitl) -> None:
    hitl.create()
    model = FakeModel("Bash", {"command": "touch made", "description": "Make a file"})
    try:
        hitl.ok("hook", "install", "--matcher", "Bash", "--wait", "100ms", "--then", "defer")
        first = begin(hitl, model, "-p", "do it")
        said = json.loads(first.communicate(timeout=PATIENCE_S * 2)[0])
        assert said["stop_reason"] == "tool_deferred"
        hitl.ok("approve", request(hitl)["id"], "--as", "lead")
        again = begin(hitl, model, "-p", "--resume", said["session_id"])
        assert again.wait(PATIENCE_S * 2) == 0
        assert (hitl.folder / "made").exists()
    finally:
        model.stop()


def begin(hitl: Hitl, model: FakeModel, *args: str, program: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start the agent in the test's folder, with a home of its own and no network but the model."""
    env: Mapping[str, str] = {
        **os.environ,
        **hitl.env,
        "PATH": f"{Path(HITL).parent}:{os.environ['PATH']}",
        "HOME": str(hitl.folder / "home"),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    assert CLAUDE is not None
    return subprocess.Popen(
        [*(program or (CLAUDE,)), *args, "--output-format", "json"],
        cwd=hitl.folder,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_an_installed_hook_blocks_even_if_hitl_is_missing_or_is_killed(hitl: Hitl) -> None:
    hitl.ok("hook", "install", "claude", "--project", "--wait", "1s")
    settings = json.loads((hitl.folder / ".claude" / "settings.json").read_text())
    command = settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"]
    missing = command.replace(command.split()[0], "/nowhere/hitl", 1)
    killed = command.replace(command.split()[0], "sh -c 'kill -9 $$'", 1)
    for each in (missing, killed):
        done = subprocess.run(["sh", "-c", each], input=b"{}", capture_output=True, check=False)
        assert done.returncode == 2, each


# Doctor


def findings(hitl: Hitl, exit_code: int = 0) -> list[dict[str, Any]]:
    hitl.env["HOME"] = str(hitl.folder / "home")
    done = hitl.run("doctor", "--json")
    assert done.returncode == exit_code, done.stdout
    return [one for one in json.loads(done.stdout)["findings"] if one["name"] == "hook"]


def test_doctor_says_who_an_installed_hook_asks_and_where(hitl: Hitl) -> None:
    assert findings(hitl) == []
    hitl.ok("hook", "install", "--to", "lead", "--to", "ops", "--matcher", "Bash")
    [ok] = findings(hitl)
    assert ok["level"] == "ok"
    for told in ("PreToolUse", str(settings(hitl)), "Bash", "lead or ops"):
        assert told in ok["text"]


@pytest.mark.parametrize(
    ("change", "level", "told"),
    [
        ({"command": "/no/such/hitl hook claude || exit 2"}, "error", "/no/such/hitl"),
        ({"command": f"{HITL} hook claude --wait 'x || exit 2"}, "error", "read"),
        ({"command": f"{HITL} hook claude --wait soon || exit 2"}, "error", "soon"),
        ({"command": f"{HITL} hook claude"}, "warning", "start"),
        ({"command": f"{HITL} hook claude --wait 1h || exit 2", "timeout": 3_600}, "error", "1h"),
        ({"command": f"{HITL} hook claude --wait 11m || exit 2"}, "error", "11m"),
        ({"command": f"{HITL} hook claude --to group:none || exit 2"}, "warning", "group:none"),
        ({"command": f"{HITL} hook claude --server http://127.0.0.1:1 || exit 2"}, "error", "127.0.0.1:1"),
        ({"command": f"{HITL} hook claude --gateway http://127.0.0.1:1 || exit 2"}, "error", "127.0.0.1:1"),
    ],
)
def test_doctor_finds_what_is_wrong_with_a_hook(
    hitl: Hitl, change: dict[str, Any], level: str, told: str
) -> None:
    path = settings(hitl)
    path.parent.mkdir()
    hook = {"type": "command", **change}
    path.write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}}))
    wrong = [one for one in findings(hitl, 1 if level == "error" else 0) if one["level"] != "ok"]
    assert [one["level"] for one in wrong] == [level]
    assert told in wrong[0]["text"]


def test_doctor_checks_the_token_of_a_hook_that_asks_at_a_gateway(hitl: Hitl) -> None:
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        hitl.ok("hook", "install", "--gateway", gateway.url, "--to", "lead")
        for can, levels in (("ask", ["ok"]), ("decide,ask", ["ok", "warning"]), ("read", ["error"])):
            asked = [part for one in can.split(",") for part in ("--can", one)]
            hitl.env["HITL_TOKEN"] = hitl.ok("token", "create", "--as", "agent", *asked).strip()
            found = findings(hitl, 1 if levels == ["error"] else 0)
            assert [one["level"] for one in found] == levels
            assert "agent" in found[0]["text"]
        hitl.env["HITL_TOKEN"] = "hitl_0123456789abcdef_wrong"
        assert [one["level"] for one in findings(hitl, 1)] == ["error"]
    finally:
        gateway.clear_away()


def test_doctor_says_that_the_agents_settings_cannot_be_read(hitl: Hitl) -> None:
    path = settings(hitl)
    path.parent.mkdir()
    path.write_text("{")
    assert [one["level"] for one in findings(hitl)] == ["warning"]
