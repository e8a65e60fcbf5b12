"""`hitl link` and `hitl key`: links are made, drawn and revoked, and keys are rotated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth.links import link_in, token_of
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from hitl_cli.auth.links import Link
    from tests.conftest import Hitl


def read(hitl: Hitl, url: str) -> Link:
    """Return the content of a link."""
    return link_in(token_of(url), load_keys(hitl.keys, 0))


def test_stdout_carries_the_url_alone(hitl: Hitl) -> None:
    request = put(hitl, "hitl-001:1", Question(prompt="Ship?", to=("reviewer",)), key="ship")
    done = hitl.run("link", "ship", "--for", "reviewer", "--qr", env={"HITL_GATEWAY": "https://a.example/"})
    assert done.returncode == 0
    assert done.stdout.startswith("https://a.example/l/")
    assert done.stdout.count("\n") == 1
    assert "For reviewer to answer hitl-001:1, valid for 23h" in done.stderr  # its deadline, not 30 days
    assert "█▀" in done.stderr
    link = read(hitl, done.stdout.strip())
    assert (link.request, link.person, link.ends_at) == (request.id, "reviewer", request.timeout_at)


def test_a_link_says_in_json_what_it_is(hitl: Hitl) -> None:
    put(hitl, "hitl-001:1", Question(prompt="Ship?"))
    made = hitl.json("link", "create", "hitl-001:1", "--for", "reviewer", "--expires", "1h")
    assert set(made) == {"url", "request", "person", "ends_at", "id"}
    link = read(hitl, made["url"])
    assert link.id == made["id"]
    assert link.ends_at == link.made_at + 3_600_000


def test_that_a_link_opens_on_this_machine_alone_is_said(hitl: Hitl) -> None:
    put(hitl, "hitl-001:1", Question(prompt="Ship?"))
    done = hitl.run("link", "hitl-001:1", "--for", "reviewer")
    assert "on this machine only" in done.stderr
    assert done.stdout.startswith("http://127.0.0.1:5001/l/")


def test_no_link_is_made_for_who_may_not_answer(hitl: Hitl) -> None:
    put(
        hitl,
        "release",
        Question(prompt="Ship?", to=("reviewer", "group:ops"), allow_self=False),
        by="lead",
    )
    (hitl.folder / "hitl.toml").write_text('[groups.ops]\nmembers = ["one", "lead"]\n')
    said = hitl.fails(7, "link", "release", "--for", "two", code="not-assignee")
    assert "reviewer or group:ops" in said
    hitl.fails(7, "link", "release", "--for", "lead", code="self-approval")
    hitl.fails(2, "link", "release", "--for", "group:ops", code="bad-name")
    hitl.fails(2, "link", "release", "--for", " ", code="bad-name")
    assert hitl.ok("link", "release", "--for", "one")


def test_no_link_is_made_for_what_waits_no_more(hitl: Hitl) -> None:
    put(hitl, "done:1", Question(prompt="Ship?"))
    put(hitl, "late:1", Question(prompt="Ship?"), deadline_ms=1)
    hitl.ok("approve", "done:1", "--as", "reviewer")
    assert "already approved by reviewer" in hitl.fails(
        4, "link", "done:1", "--for", "reviewer", code="already-decided"
    )
    hitl.fails(5, "link", "late:1", "--for", "reviewer", code="deadline-passed")
    hitl.fails(3, "link", "nothing", "--for", "reviewer", code="not-found")


@pytest.mark.parametrize("life", ["0s", "soon", "-1d", "367d"])
def test_a_life_that_makes_no_sense_is_refused(hitl: Hitl, life: str) -> None:
    put(hitl, "hitl-001:1", Question(prompt="Ship?"))
    assert "--expires" not in hitl.fails(
        2, "link", "hitl-001:1", "--for", "reviewer", f"--expires={life}", code="bad-duration"
    )


def test_links_are_revoked_by_themselves_by_person_and_together(hitl: Hitl) -> None:
    put(hitl, "hitl-001:1", Question(prompt="Ship?"))
    url = hitl.ok("link", "hitl-001:1", "--for", "reviewer").strip()
    said = "the link of reviewer for hitl-001:1 revoked\n"
    assert hitl.ok("link", "revoke", url) == said
    assert hitl.ok("link", "revoke", url.rpartition("/")[2]) == said
    assert hitl.ok("link", "revoke", "hitl-001:1") == "all links for hitl-001:1 revoked\n"
    assert "all links of ops for" in hitl.ok("link", "revoke", "hitl-001:1", "--for", "ops")
    assert "not for ops" in hitl.fails(2, "link", "revoke", url, "--for", "ops", code="bad-input")


def test_what_is_no_link_of_ours_is_not_revoked(hitl: Hitl) -> None:
    put(hitl, "hitl-001:1", Question(prompt="Ship?"))
    url = hitl.ok("link", "hitl-001:1", "--for", "reviewer").strip()
    hitl.fails(2, "link", "revoke", url[:-1], code="link-invalid")
    hitl.fails(2, "link", "revoke", "https://a.example/x", code="link-invalid")
    hitl.fails(3, "link", "revoke", "nothing.of.this", code="not-found")


def test_keys_are_listed_and_rotated_and_their_secrets_never_shown(hitl: Hitl) -> None:
    [first] = hitl.json("key", "list")
    assert first["believed_until"] is None
    assert "1 older key stays valid" in hitl.ok("key", "rotate")
    assert [key["believed_until"] is None for key in hitl.json("key", "list")] == [True, False]
    hitl.ok("key", "rotate", "--forget")
    [last] = hitl.json("key", "list")
    assert last["key"] != first["key"]
    secret = json.loads(hitl.keys.read_text())["keys"][0]["secret"]
    assert secret not in hitl.ok("key", "list") + hitl.ok("key", "list", "--json")


def test_links_are_of_requests_that_the_person_may_see(hitl: Hitl) -> None:
    put(hitl, "release", Question(prompt="Ship?", to=("reviewer",)), by="asker")
    (hitl.folder / "hitl.toml").write_text('[visibility]\ndefault = "assigned"\n')
    for args in (("create", "release", "--for", "reviewer"), ("revoke", "release")):
        done = hitl.run("link", *args, env={"HITL_AS": "other"})
        assert (done.returncode, "reviewer" in done.stdout + done.stderr) == (3, False)
        assert hitl.run("link", *args, env={"HITL_AS": "reviewer"}).returncode == 0
