"""`hitl checkpoint`, `export`, `receipt` and `verify` of files, as a person types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.proof.test_signed import make_key

if TYPE_CHECKING:
    from tests.conftest import Hitl


def test_the_history_is_proven_on_another_machine_with_public_keys_alone(hitl: Hitl) -> None:
    keys = {name: make_key(hitl.folder, name) for name in ("lead", "operator")}
    trusted = f'[people.lead]\nssh = ["{keys["lead"]}"]\n[checkpoints]\nkeys = ["{keys["operator"]}"]\n'
    (hitl.folder / "hitl.toml").write_text(trusted)
    for id in ("signed", "plain"):
        hitl.ok("ask", "Pay?", "--id", id, "--no-wait")
    hitl.ok("approve", "signed", "--as", "lead", "--key", str(hitl.folder / "lead"))
    hitl.ok("reject", "plain", "--as", "ops")
    hitl.fails(2, "checkpoint", "--key", str(hitl.folder / "lead"), code="no-key")
    files = {
        "checkpoint.json": hitl.ok("checkpoint", "--key", str(hitl.folder / "operator")),
        "history.jsonl": hitl.ok("export", "--since", "1d"),
        "receipt.json": hitl.ok("receipt", "signed"),
    }
    assert len(files["checkpoint.json"]) < 1_000
    assert hitl.ok("receipt", "signed", "--html").startswith("<!doctype html>")

    elsewhere = hitl.folder / "elsewhere"
    elsewhere.mkdir()
    for name, text in {**files, "hitl.toml": trusted}.items():
        (elsewhere / name).write_text(text)
    nowhere = {"HITL_SERVER": f"sqlite:///{elsewhere}/none.db"}

    def verify(*args: str, exit_code: int = 0) -> dict[str, str]:
        done = hitl.run("verify", "--json", *args, cwd=elsewhere, env=nowhere)
        assert done.returncode == exit_code, done.stderr
        return {one["id"]: one["state"] for one in json.loads(done.stdout)["decisions"]}

    both = {"signed": "proven", "plain": "claimed"}
    assert verify("history.jsonl", "--checkpoint", "checkpoint.json") == both
    assert verify("history.jsonl", "receipt.json") == both
    (elsewhere / "page.html").write_text("<!doctype html>")
    refusals = (
        ("checkpoint.json", "--checkpoint", 2),
        ("no.jsonl", "no file no.jsonl", 6),
        ("page.html", ".jsonl", 6),
    )
    for name, word, exit_code in refusals:  # it says what to write, also where there is no server
        assert word in hitl.fails(exit_code, "verify", name, cwd=elsewhere, env=nowhere)
    changed = files["history.jsonl"].replace('"hitl:by":"ops"', '"hitl:by":"lead"')
    (elsewhere / "history.jsonl").write_text(changed)
    verify("history.jsonl", exit_code=1)
    (elsewhere / "hitl.toml").write_text(trusted.replace(keys["lead"], keys["operator"]))
    assert verify("receipt.json", exit_code=1) == {"signed": "wrong"}

    hitl.ok("verify", "signed", "--checkpoint", str(elsewhere / "checkpoint.json"))
    found = hitl.json("verify", "--checkpoint", str(elsewhere / "checkpoint.json"))
    assert found["decisions"] == []
    assert [(check["unchanged"], check["later"]) for check in found["checks"]] == [(2, 0)]
    older = ("prune", "--older", "1d", "--yes")
    if hitl.on_a_file:
        hitl.fails(2, *older, "--key", str(hitl.folder / "lead"), code="no-key")
        hitl.ok(*older, "--key", str(hitl.folder / "operator"))
        hitl.ok("verify", "--checkpoint", str(elsewhere / "checkpoint.json"))
