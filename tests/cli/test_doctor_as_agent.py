"""`hitl doctor --as-agent`: each way to a decision that nobody made is tried, and trying changes nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli import defaults
from hitl_cli.admin.agent_checks import ways_out
from hitl_cli.settings import Settings
from tests.conftest import HITL, PATIENCE_S, wait_until
from tests.gateway.conftest import start_gateway
from tests.server.conftest import serve, served

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway
    from tests.server.conftest import Served

__all__ = ["serve", "served", "start_gateway"]

pytestmark = pytest.mark.only("file", reason="what it finds on each server is tried here")

OTHER_USER = 65_534
USUAL = f"http://127.0.0.1:{defaults.GATEWAY_PORT}"


def states(hitl: Hitl, env: dict[str, str] | None = None, *args: str) -> dict[str, set[str]]:
    """Return the states of the ways, by name. A gateway that somebody runs on the usual port is left out."""
    done = hitl.run("doctor", "--as-agent", "--json", *args, env=env)
    found = json.loads(done.stdout)
    opened = [way for way in found["ways"] if way["state"] == "open"]
    assert (found["open"], done.returncode) == (len(opened), 1 if opened else 0), done.stderr
    ways = [way for way in found["ways"] if USUAL not in way["text"]]
    return {name: {way["state"] for way in ways if way["name"] == name} for name in _names(found)}


def _names(found: dict[str, Any]) -> set[str]:
    return {way["name"] for way in found["ways"]}


def test_the_same_user_may_do_everything_and_trying_changes_nothing(
    hitl: Hitl, start_gateway: StartGateway
) -> None:
    gateway = start_gateway()
    hitl.ok("ask", "Deploy?", "--id", "r", "--no-wait")
    (hitl.folder / "hitl.toml").write_text('app = "flow.py"\n[hooks.bot]\nsecret = "$BOT_SECRET"\n')
    (hitl.folder / "flow.py").write_text("")
    with closing(sqlite3.connect(hitl.database)) as db:
        before = list(db.iterdump())

        found = states(hitl, {"HITL_GATEWAY": gateway.url, "BOT_SECRET": "x"})

        assert list(db.iterdump()) == before
    for name in ("server", "keys", "settings", "workflow", "program", "secret"):
        assert found[name] == {"open"}, name
    assert "open" in found["gateway"]
    assert "secret" not in states(hitl)


def test_a_token_that_can_only_ask_is_closed_and_one_that_decides_is_open(
    hitl: Hitl, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--sign-in")
    for right, state in (("ask", "closed"), ("start", "closed"), ("read", "closed"), ("decide", "open")):
        token = hitl.ok("token", "create", "--as", "agent", "--can", right).strip()
        found = states(hitl, {"HITL_GATEWAY": gateway.url, "HITL_TOKEN": token})
        assert found["token"] == {state}, right
        assert found["gateway"] == {"closed"}


def test_a_key_of_a_person_that_signs_without_a_person_is_open(hitl: Hitl) -> None:
    folder = hitl.folder / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    env = {"HOME": str(folder.parent), "SSH_AUTH_SOCK": ""}
    assert "signature" not in states(hitl, env)
    for name, passphrase, state in (("locked", "secret", "closed"), ("plain", "", "open")):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(folder / name)]
        subprocess.run(command, check=True)
        public = (folder / f"{name}.pub").read_text().strip()
        (hitl.folder / "hitl.toml").write_text(f"[people.lead]\nssh = [{json.dumps(public)}]\n")
        assert states(hitl, env)["signature"] == {state}, name


def test_what_hitl_login_has_kept_is_open(hitl: Hitl, start_gateway: StartGateway) -> None:
    gateway = start_gateway("--sign-in")
    token = hitl.ok("token", "create", "--as", "lead", "--can", "decide").strip()
    config = hitl.folder / "config" / "hitl"
    config.mkdir(parents=True)
    kept = config / "logins.json"
    where = {"XDG_CONFIG_HOME": str(config.parent)}
    for more, state in ({"token": token}, "open"), ({"token": "hitl_no_such"}, "closed"), ({}, "open"):
        kept.write_text(json.dumps({"logins": [{"gateway": gateway.url, "as": "lead", **more}]}))
        kept.chmod(0o600)
        assert states(hitl, where)["login"] == {state}
    assert "login" not in states(hitl, {"XDG_CONFIG_HOME": str(hitl.folder)})


def test_a_server_that_settles_promises_is_open_and_an_unreachable_one_closed(
    hitl: Hitl, served: Served
) -> None:
    assert "open" in states(hitl, None, "--server", served.url)["server"]
    served.process.stop()
    assert "closed" in states(hitl, None, "--server", served.url)["server"]


def test_a_process_of_the_same_user_is_open(hitl: Hitl) -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc")
    command = [HITL, "server", "--port", "0"]
    with subprocess.Popen(command, env=hitl.env, cwd=hitl.folder, stderr=subprocess.PIPE) as server:
        try:
            wait_until(lambda: f"process {server.pid}" in hitl.run("doctor", "--as-agent").stdout)
        finally:
            server.terminate()
            server.wait(PATIENCE_S)


def test_a_hook_that_the_agent_can_take_out_is_open(hitl: Hitl) -> None:
    env = {"HOME": str(hitl.folder)}
    assert "hook" not in states(hitl, env)
    hitl.ok("hook", "install", "claude", "--to", "lead")
    assert states(hitl, env)["hook"] == {"open"}
    (hitl.folder / ".claude" / "settings.json").write_text("{")
    assert states(hitl, env)["hook"] == {"unknown"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(("permit", "state"), [(0o644, "closed"), (0o666, "open")])
def test_another_user_can_do_what_the_files_permit(hitl: Hitl, permit: int, state: str) -> None:
    hitl.create()
    hitl.ok("key", "rotate")
    toml = hitl.folder / "hitl.toml"
    toml.write_text("")
    for path in (hitl.database, toml):
        path.chmod(permit)
    hitl.keys.chmod(0o600 if state == "closed" else 0o644)
    for folder in (hitl.folder, *hitl.folder.parents):
        if folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(0o755)

    found = _as_other_user(lambda: ways_out(Settings(hitl.env, hitl.folder), hitl.url, None))

    by_name = {way["name"]: way["state"] for way in found}
    assert {by_name[name] for name in ("server", "keys", "settings")} == {state}
    assert by_name["user"] == "closed"


def _as_other_user(look: Callable[[], Any]) -> list[dict[str, str]]:
    """Return what another user finds."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_look, args=(there, look))
    child.start()
    there.close()
    found = here.recv()
    child.join(PATIENCE_S)
    return list(found)


def _look(there: Connection, look: Callable[[], Any]) -> None:
    look()  # this user may not be able to import what it needs
    os.setgroups([])
    os.setgid(OTHER_USER)
    os.setuid(OTHER_USER)
    there.send([{"name": way.name, "state": way.state} for way in look()])
