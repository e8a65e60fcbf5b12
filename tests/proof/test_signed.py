"""Signed decisions: what is proven, and each way in which somebody else's yes could pass for one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli import Hitl as PythonApi
from hitl_cli.client.protocol import call, get_promise
from hitl_cli.client.wire import Audit, Proof, Vote, audit_of, encode
from hitl_cli.errors import Unproven
from hitl_cli.inbox.votes import settle_request
from hitl_cli.proof import ssh
from hitl_cli.proof.statement import Statement
from tests.conftest import wait_until
from tests.gateway.conftest import start_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

__all__ = ["start_gateway"]

PAY: dict[str, Any] = {"amount": 100}


def make_key(folder: Path, name: str) -> str:
    """Make a key, and return its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return (folder / f"{name}.pub").read_text().strip()


@pytest.fixture
def signers(hitl: Hitl) -> Hitl:
    """Three people with keys: the lead has two."""
    keys = {name: make_key(hitl.folder, name) for name in ("lead", "lead2", "ops", "legal")}
    people = {"lead": [keys["lead"], keys["lead2"]], "ops": [keys["ops"]], "legal": [keys["legal"]]}
    (hitl.folder / "hitl.toml").write_text(
        "".join(f"[people.{name}]\nssh = {json.dumps(own)}\n" for name, own in people.items())
        + '[groups.board]\nmembers = ["lead", "ops"]\n'
    )
    return hitl


def ask(hitl: Hitl, id: str = "pay", *args: str) -> None:
    hitl.ok("ask", "Pay?", "--id", id, "--no-wait", "--proof", "signed", *args)


def approve(hitl: Hitl, id: str = "pay", person: str = "lead", key: str | None = None, *args: str) -> None:
    hitl.ok("approve", id, "--as", person, "--key", str(hitl.folder / (key or person)), *args)


def states(hitl: Hitl, *ids: str) -> list[str]:
    """Return what the decisions are worth; the command must exit with 1 if one is wrong."""
    done = hitl.run("verify", "--json", *ids)
    found = [one["state"] for one in json.loads(done.stdout)]
    assert done.returncode == (1 if "wrong" in found else 0), done.stderr
    return found


def test_a_signed_decision_is_proven_and_is_used(signers: Hitl) -> None:
    ask(signers, "pay", "--to", "lead", "--arguments", json.dumps(PAY), "--editable", "true")
    ask(signers, "no")
    approve(signers, "pay", "lead", "lead2", "--set", "amount=5", "--comment", "less")
    signers.ok("reject", "no", "--as", "ops", "--key", str(signers.folder / "ops"), "--reason", "never")
    assert states(signers, "pay", "no") == states(signers, "--since", "1d")[::-1] == ["proven", "proven"]
    decided = json.loads(signers.ok("ask", "--id", "pay", "--json"))
    assert (decided["by"], decided["data"], decided["changed"]) == ("lead", {"amount": 5}, True)
    [proof] = signers.json("show", "pay")["decision"]["proof"]
    assert (proof["by"], proof["state"], proof["key"][:7]) == ("lead", "proven", "SHA256:")


def test_the_key_of_the_environment_and_of_the_settings_signs(signers: Hitl) -> None:
    for id in ("a", "b"):
        ask(signers, id)
    signers.env["HITL_SSH_KEY"] = str(signers.folder / "ops")
    signers.ok("approve", "a", "--as", "ops", "--sign")
    del signers.env["HITL_SSH_KEY"]
    toml = signers.folder / "hitl.toml"
    toml.write_text(f'sign = true\nssh_key = "{signers.folder / "ops"}"\n' + toml.read_text())
    signers.ok("answer", "b", "yes", "--as", "ops")
    assert states(signers, "a", "b") == ["proven", "proven"]


def test_the_only_known_key_of_the_agent_signs(signers: Hitl) -> None:
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    env = dict(
        part.split("=", 1)
        for part in started.replace(";", "\n").split()
        if part.startswith("SSH_") and "=" in part
    )
    try:
        signers.env |= env
        subprocess.run(["ssh-add", "-q", str(signers.folder / "ops")], env=signers.env, check=True)
        ask(signers)
        signers.fails(2, "approve", "pay", "--as", "lead", "--sign", code="no-key")
        signers.ok("approve", "pay", "--as", "ops", "--sign")
        assert states(signers, "pay") == ["proven"]
    finally:
        subprocess.run(["kill", env["SSH_AGENT_PID"]], check=True)


def test_without_a_signature_nothing_is_decided_in_any_front_end(
    signers: Hitl, start_gateway: StartGateway
) -> None:
    ask(signers)
    signers.ok("rule", "add", "--as", "lead", "--where", "amount=100", "--for", "8h")
    ask(signers, "ruled", "--arguments", json.dumps(PAY))
    gateway = start_gateway()
    for verb in (("approve", "pay"), ("reject", "pay"), ("answer", "pay", "yes")):
        signers.fails(7, *verb, "--as", "lead", code="proof-needed")
    reply = gateway.post("/api/v1/requests/pay/decision", {"verdict": "approve"})
    assert (reply.status, reply.json["code"]) == (403, "proof-needed")
    signers.fails(7, "approve", "--match", "pay", "--yes", "--as", "lead", code="proof-needed")
    assert {one["id"] for one in signers.json("pending")} == {"pay", "ruled"}


@pytest.mark.parametrize(
    ("key", "person", "code"),
    [("ops", "lead", "no-key"), ("nobody", "lead", "no-key"), ("ops", "stranger", "no-key")],
)
def test_a_key_that_proves_nothing_decides_nothing(signers: Hitl, key: str, person: str, code: str) -> None:
    ask(signers)
    signers.fails(2, "approve", "pay", "--as", person, "--key", str(signers.folder / key), code=code)
    assert len(signers.json("pending")) == 1


# Attackers who can settle promises, or write the database


def settle(hitl: Hitl, id: str, audit: Audit, data: Any = True) -> None:
    """Settle a request as any tool of Resonate can."""
    with hitl.client() as client:
        value = encode(data, audit.headers())
        assert call(client, "promise.settle", id=id, state="resolved", value=value).status == 200


def audit_on(hitl: Hitl, id: str) -> Audit:
    with hitl.client() as client:
        promise = get_promise(client, id)
        assert promise is not None
        return audit_of(promise)


def refused(hitl: Hitl, id: str) -> None:
    """Whoever asked gets no yes, and the decision is wrong."""
    hitl.fails(4, "ask", "--id", id, code="unproven")
    with PythonApi(hitl.url) as python, pytest.raises(Unproven):
        python.wait(id)
    assert states(hitl, id) == ["wrong"]
    assert hitl.json("show", id)["decision"]["unproven"]


def test_a_settlement_without_proof_is_no_yes(signers: Hitl) -> None:
    for id, audit in (("raw", Audit()), ("named", Audit(id="x", by="lead", via="cli", at=1))):
        ask(signers, id)
        settle(signers, id, audit)
        refused(signers, id)


def test_a_proof_of_another_request_answer_or_person_is_no_yes(signers: Hitl) -> None:
    ask(signers, "signed")
    approve(signers, "signed")
    good = audit_on(signers, "signed")
    for id, forged, data in (
        ("replayed", good, True),
        ("renamed", msgspec.structs.replace(good, by="ops"), True),
        (
            "garbage",
            msgspec.structs.replace(good, proof=Proof(kind="ssh", decision="d", at=1, signature="x")),
            True,
        ),
        ("several", msgspec.structs.replace(good, votes=(Vote(by="lead", verdict="approve", at=1),)), True),
    ):
        ask(signers, id)
        settle(signers, id, forged, data)
        refused(signers, id)


def stored(data: Any, headers: dict[str, str] | None = None) -> str:
    """Return a value as the file has it."""
    return msgspec.json.encode(encode(data, headers)).decode()


def test_a_changed_answer_comment_or_prompt_is_noticed(signers: Hitl) -> None:
    if not signers.on_a_file:
        pytest.skip("changes the file")
    for id in ("answer", "comment", "prompt", "deadline"):
        ask(signers, id)
        approve(signers, id, "lead", None, "--comment", "fine")
    assert states(signers, "answer", "comment", "prompt", "deadline") == ["proven"] * 4
    good = {id: audit_on(signers, id).headers() for id in ("answer", "comment")}
    changes: dict[str, tuple[str, Any]] = {
        "answer": ("value", stored({"amount": 9}, good["answer"])),
        "comment": ("value", stored(True, good["comment"] | {"hitl:comment": "not fine"})),
        "prompt": ("param", stored({"prompt": "Refund?", "proof": "signed"})),
        "deadline": ("timeout_at", 2**44),
    }
    with closing(sqlite3.connect(signers.database, isolation_level=None)) as db:
        for id, (column, value) in changes.items():
            db.execute(f"UPDATE promises SET {column} = ? WHERE id = ?", (value, id))
    assert states(signers, *changes) == ["wrong"] * 4


def test_a_quorum_needs_different_people_who_may_answer(signers: Hitl) -> None:
    ask(signers, "two", "--approvals", "2", "--to", "group:board")
    approve(signers, "two", "lead")
    approve(signers, "two", "ops")
    assert states(signers, "two") == ["proven"]
    votes = audit_on(signers, "two").votes
    assert [vote.by for vote in votes] == ["lead", "ops"]

    ask(signers, "stranger", "--to", "lead")
    ask(signers, "free", "--to", "legal")
    approve(signers, "free", "legal")
    settle(signers, "stranger", audit_on(signers, "free"))
    refused(signers, "stranger")

    ask(signers, "one", "--approvals", "2", "--to", "group:board")
    approve(signers, "one", "lead")
    with signers.client() as client:
        from hitl_cli.inbox.votes import votes_of

        promise = get_promise(client, "one")
        [cast] = votes_of(client, "one")
        assert promise is not None
        twice = msgspec.structs.replace(cast.audit, votes=(cast.vote, cast.vote))
        client.call_many([settle_request(promise, cast.vote, twice)])
    refused(signers, "one")


def test_a_key_that_is_taken_out_of_the_settings_proves_nothing_more(signers: Hitl) -> None:
    ask(signers)
    approve(signers)
    toml = signers.folder / "hitl.toml"
    toml.write_text(toml.read_text().replace("ssh = ", "# "))
    refused(signers, "pay")


def test_a_run_goes_on_with_a_proven_yes_only(signers: Hitl) -> None:
    (signers.folder / "app.py").write_text(
        "from hitl_cli import ask, workflow\n"
        "@workflow\n"
        "async def pay(ctx, id):\n"
        "    decision = await ask(ctx, 'Pay?', proof='signed')\n"
        "    return f'paid by {decision.by}'\n"
    )
    signers.worker("--app", "app.py")
    for id in ("good", "forged"):
        signers.ok("start", id, "-w", "pay")
    signers.waiting(2)
    approve(signers, "good")
    [forged] = [one["id"] for one in signers.json("pending")]
    settle(signers, forged, Audit(id="x", by="lead", via="cli", at=1))
    assert signers.ok("wait", "good").strip() == '"paid by lead"'
    signers.fails(1, "wait", "forged")
    wait_until(lambda: "Unproven" in signers.ok("status", "forged"))


# The statement


def test_a_request_that_nobody_could_sign_is_refused(signers: Hitl) -> None:
    signers.fails(2, "ask", "?", "--proof", "signed", "--on-deadline", "approve", "--no-wait")
    signers.fails(2, "ask", "?", "--proof", "magic", "--no-wait")


def test_a_signature_for_another_purpose_is_none(signers: Hitl) -> None:
    statement = b"{}"
    key = (signers.folder / "lead.pub").read_text().strip()
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(signers.folder / "lead")],
        input=statement,
        capture_output=True,
        check=True,
    )
    assert ssh.verify(done.stdout.decode(), statement, [key]) is None
    assert ssh.verify(ssh.sign(signers.folder / "lead", statement), statement, [key]) is not None


FIELDS = {field for field in Statement.__struct_fields__ if field != "statement"}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.builds(
    Statement,
    request=TEXTS, asked=TEXTS, arguments=st.none() | TEXTS, verdict=st.sampled_from(["approve", "reject"]),
    choice=st.none() | TEXTS, data=st.none() | TEXTS, reason=st.none() | TEXTS, comment=st.none() | TEXTS,
    by=TEXTS, at=st.integers(0, 2**50), decision=TEXTS,
), st.data())  # fmt: skip
def test_any_change_changes_what_is_signed(statement: Statement, data: st.DataObject) -> None:
    fields = msgspec.to_builtins(statement)
    assert fields.keys() == FIELDS | {"statement"}
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    kinds: dict[str, st.SearchStrategy[Any]] = {"at": st.integers(0, 2**50)}
    kinds["verdict"] = st.sampled_from(["approve", "reject"])
    other = data.draw(kinds.get(name, TEXTS))
    changed = msgspec.convert(fields | {name: other}, Statement)
    assert (changed.canonical() == statement.canonical()) == (other == fields[name])
    assert json.loads(statement.canonical()) == fields
