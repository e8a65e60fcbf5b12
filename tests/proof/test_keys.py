"""Whose keys count, and when: revoked ones, those of a file of allowed signers, and keys that do not sign."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import BadInput, BadSetting, Unproven
from hitl_cli.format.public_keys import fingerprint
from hitl_cli.people.contacts import Contact, check_signers
from hitl_cli.proof import ssh
from hitl_cli.proof.checking import ALWAYS, check_life
from hitl_cli.proof.signing import ssh_signer, too_few_sign, usable_keys
from hitl_cli.requests.question import Question
from hitl_cli.settings import Settings
from tests.inbox.requests import HOUR_MS
from tests.proof.signers import approve, directory, key, public
from tests.proof.test_demanded import PLAIN, client, put, stored, used

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.groups import Groups
    from tests.conftest import Hitl

__all__ = ["client"]

HARDWARE = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIDJuM4UHEZKDd2ixfTdzMRM4GZYhXnEg8"
    "XAaV6g7cSYHAAAABHNzaDo="
)
"""A public key of a security key."""


def id_of(name: str) -> str:
    return fingerprint(" ".join(public(name).split()[:2]))


def revoking(name: str, at: int) -> Groups:
    return directory(revoked={id_of(name): at}).members


# Revoked keys


def test_what_was_signed_before_a_revocation_stays_good_and_nothing_after(client: Client) -> None:
    put(client, PLAIN, proof="signed")
    approve(client, PLAIN, "pay-7", "lead", "lead")
    promise = stored(client, "pay-7")
    assert promise.settled_at is not None
    assert used(client, revoking("lead", promise.settled_at + 1))
    assert used(client, revoking("lead2", 0))
    with pytest.raises(Unproven, match="revoked"):
        used(client, revoking("lead", promise.settled_at))


def test_a_thief_who_signs_as_of_an_earlier_time_is_late_for_the_server(client: Client) -> None:
    """The revocation is before the server has it, although the thief says otherwise."""
    put(client, PLAIN, proof="signed")
    approve(client, PLAIN, "pay-7", "lead", "lead")
    promise = stored(client, "pay-7")
    assert promise.settled_at is not None
    early = promise.settled_at - HOUR_MS
    with pytest.raises(BadInput, match="revoked"):
        check_life("k", revoking("lead", early + 1).lives[id_of("lead")], early, promise.settled_at)
    check_life("k", ALWAYS, 0, early)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"to": ("lead",)}, ""),
        ({"to": ("group:board",), "approvals": 2}, ""),
        ({}, ""),
        ({"to": ("reviewer",)}, "nobody"),
        ({"to": ("lead", "reviewer"), "approvals": 2}, "only 1 of the 2"),
        ({"to": ("lead",), "proof": "passkey"}, "passkey"),
        ({"to": ("reviewer",), "proof": None}, ""),
    ],
)
def test_of_a_request_that_too_few_can_sign_it_is_said(asked: dict[str, Any], told: str) -> None:
    question = Question(prompt="Pay?", **{"proof": "signed", **asked})
    said = too_few_sign(question, directory().members)
    assert told in said
    assert bool(told) == bool(said)
    revoked = directory(revoked={id_of("ops"): 1}).members
    assert "nobody" in too_few_sign(Question(prompt="?", to=("ops",), proof="signed"), revoked)


def test_a_person_does_not_sign_with_a_revoked_key() -> None:
    assert len(usable_keys("lead", PLAIN)) == 2
    groups = revoking("lead", 1)
    assert usable_keys("lead", groups) == (" ".join(public("lead2").split()[:2]),)
    assert usable_keys("lead", revoking("lead", 2**45)) == usable_keys("lead", PLAIN)


# A file of allowed signers


def settings(folder: Path, signers: str, more: str = "") -> Settings:
    (folder / "hitl.toml").write_text(
        f'allowed_signers = "signers"\n{more}[people.lead]\nemail = "lead@example.org"\n'
    )
    (folder / "signers").write_text(signers)
    return Settings({}, folder)


def test_the_signers_of_a_file_sign_for_the_people_whose_names_they_have(
    client: Client, tmp_path: Path
) -> None:
    lead, ops = public("lead"), public("ops")
    lines = (
        "# those who may sign\n\n"
        f'lead@example.org namespaces="git,hitl-*",valid-after="20200101Z" {lead} of the lead\n'
        f'ops,"Ann Lee" {ops}\n'
        f'auditor namespaces="git" {public("thief")}\n'
    )
    groups = settings(tmp_path, lines.replace('ops,"Ann Lee"', "ops")).groups()
    assert {name: len(keys) for name, keys in groups.ssh.items()} == {"lead": 1, "ops": 1}
    put(client, groups, proof="signed")
    approve(client, groups, "pay-7", "lead", "lead")
    assert used(client, groups)
    with pytest.raises(BadSetting, match="two people"):
        settings(tmp_path, lines).groups()


@pytest.mark.parametrize("options", ['valid-before="20200101"', 'valid-after="20990101120000Z"'])
def test_a_key_proves_nothing_outside_of_its_time(client: Client, tmp_path: Path, options: str) -> None:
    groups = settings(tmp_path, f"lead {options} {public('lead')}\n").groups()
    assert usable_keys("lead", groups) == ()
    put(client, PLAIN, proof="signed")
    approve(client, PLAIN, "pay-7", "lead", "lead")
    with pytest.raises(Unproven):
        used(client, groups)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("*@example.org KEY", "pattern"),
        ("lead cert-authority KEY", "cert-authority"),
        ('lead valid-before="soon" KEY', "instant"),
        ("lead verify-required KEY", "unknown option"),
        ("lead ssh-dss AAAA", "option|public SSH key"),
        ("lead", "public SSH key"),
    ],
)
def test_a_line_that_openssh_would_read_otherwise_is_refused(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(BadSetting, match=rf"signers:2: .*({why})"):
        settings(tmp_path, "# 1\n" + line.replace("KEY", public("lead")) + "\n").groups()


def test_a_changed_file_of_signers_is_read_again(tmp_path: Path) -> None:
    live = settings(tmp_path, f"lead {public('lead')}\n").live_directory()
    assert live().members.ssh.keys() == {"lead"}
    (tmp_path / "signers").write_text(f"lead {public('lead')}\nops {public('ops')}\n")
    assert live().members.ssh.keys() == {"lead", "ops"}


def test_a_key_of_two_people_proves_nothing() -> None:
    shared = Contact(ssh=(public("lead"),))
    with pytest.raises(BadSetting, match="two people"):
        check_signers(directory(people={"lead": shared, "ops": shared}))


@pytest.mark.parametrize(
    "line", ['"SHA256:short" = 2026-11-27T12:00:00Z', f'"{"SHA256:" + "a" * 43}" = 2026-11-27T12:00:00']
)
def test_a_revocation_names_a_key_and_an_instant(tmp_path: Path, line: str) -> None:
    (tmp_path / "hitl.toml").write_text(f"[revoked]\n{line}\n")
    with pytest.raises(BadSetting, match="revoked"):
        Settings({}, tmp_path)


# Keys that do not sign


def test_a_key_that_does_not_sign_says_why_and_nothing_is_decided(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    put(client, PLAIN, proof="signed")
    secret, exposed, gone = tmp_path / "secret", tmp_path / "exposed", tmp_path / "gone"
    for file, phrase in ((secret, "open sesame"), (exposed, ""), (gone, "")):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", file], check=True)
    exposed.chmod(0o644)
    gone.unlink()
    (tmp_path / "hardware.pub").write_text(HARDWARE)
    assert ssh.asks_each_time(secret)
    assert ssh.asks_each_time(tmp_path / "hardware")
    assert not ssh.asks_each_time(key("lead"))
    for file, code in (
        (secret, "wrong-passphrase"),
        (exposed, "key-permissions"),
        (tmp_path / "gone.pub", "not-signed"),
        (tmp_path / "nothing", "no-key"),
        (tmp_path / "hardware.pub", "not-signed"),
    ):
        told: list[str] = []
        signer = ssh_signer(file, (public("lead"),), tell=told.append, quiet=True)
        with pytest.raises(BadInput) as raised:
            signer(statement())
        assert raised.value.code == code
        assert len(told) == (file.name == "hardware.pub")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput) as missing:
        ssh_signer(key("lead"), (public("lead"),))(statement())
    assert missing.value.code == "no-openssh"


def statement() -> Any:
    from hitl_cli.proof.statement import Statement

    return Statement(
        request="r", asked="a", arguments=None, verdict="approve", choice=None, data=None, reason=None,
        comment=None, by="lead", at=1, decision="d",
    )  # fmt: skip


def test_the_key_of_a_security_key_is_a_key_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "hitl.toml").write_text(f"[people.lead]\nssh = [{json.dumps(HARDWARE)}]\n")
    assert Settings({}, tmp_path).groups().ssh == {"lead": (HARDWARE,)}


# Commands


def test_people_lists_who_signs_with_what_and_prints_lines_for_the_settings(hitl: Hitl) -> None:
    toml = hitl.folder / "hitl.toml"
    hitl.env["TZ"] = "UTC"
    added = hitl.ok("people", "add", "Ann Lee", "--ssh", str(key("lead")))
    toml.write_text(
        '# kept\n[people.ops]\nemail = "ops@example.org"\n[groups.board]\nmembers = ["ops"]\n' + added
    )
    line = hitl.ok("people", "revoke", id_of("lead"), "--from", "2026-11-27T12:00:00Z")
    toml.write_text(toml.read_text() + line)
    lee, ops = hitl.json("people")
    assert (lee["name"], ops["name"], ops["groups"], ops["keys"]) == ("Ann Lee", "ops", ["board"], [])
    assert [one["by"] for one in ops["addresses"]] == ["email"]
    [signs] = lee["keys"]
    assert (signs["kind"], signs["fingerprint"], signs["revoked_from"]) == (
        "ssh",
        id_of("lead"),
        "2026-11-27T12:00:00.000Z",
    )
    hitl.fails(2, "people", "add", "ops", "--ssh", public("lead"), code="key-taken")
    hitl.fails(3, "people", "revoke", "SHA256:none", code="no-such-key")
    hitl.fails(2, "people", "revoke", "lead", code="bad-file")
    assert public("ops") in hitl.ok("people", "add", "ops@example.org", "--ssh", public("ops"))


def test_a_script_asks_again_after_an_approval_without_proof(hitl: Hitl) -> None:
    hitl.ok("ask", "Pay?", "--id", "pay", "--no-wait")
    hitl.ok("approve", "pay", "--as", "lead")
    demand = f'[people.lead]\nssh = [{json.dumps(public("lead"))}]\n[policy]\n"pay*" = {{proof = "signed"}}\n'
    (hitl.folder / "hitl.toml").write_text(demand)
    told = hitl.run("ask", "Pay?", "--id", "pay-ops", "--to", "ops", "--no-wait")
    assert "nobody has a valid key" in told.stderr
    assert "nobody has a valid key" in hitl.ok("show", "pay-ops")
    again = ("ask", "Pay?", "--id", "pay", "--on-unproven", "ask-again")
    assert hitl.ok(*again, "--no-wait") == "pay-2\n"
    hitl.ok("approve", "pay-2", "--as", "lead", "--key", str(key("lead")))
    assert hitl.ok(*again) == "true\n"
    wrong = hitl.run("verify", "pay")
    assert (wrong.returncode, wrong.stdout.count("did not sign")) == (1, 1)  # each reason once


def test_many_decisions_are_signed_at_once(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(f"[people.lead]\nssh = [{json.dumps(public('lead'))}]\n")
    with hitl.client() as client:
        for id in ("pay-1", "pay-2"):
            put(client, PLAIN, id, proof="signed")
        hitl.fails(7, "approve", "--match", "pay-*", "--dry-run", "--as", "lead", code="proof-needed")
        hitl.ok("approve", "--match", "pay-*", "--yes", "--as", "lead", "--key", str(key("lead")))
        assert used(client, PLAIN, "pay-1")
        assert used(client, PLAIN, "pay-2")
