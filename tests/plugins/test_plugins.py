"""Packages that add to hitl by entry points: one that does, and one that is broken in each way it can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import pytest
import typer.main
from typer.core import TyperGroup

from hitl_cli import plugins
from hitl_cli.cli.app import app
from hitl_cli.client.connect import Driver
from hitl_cli.notify.channels.registry import Channel
from hitl_cli.sdk.worker_link import WorkerDriver
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess

HERE = Path(__file__).parent
ASKS = str(HERE.parent / "apps" / "asks.py")
DOCS = HERE.parent.parent / "docs" / "guides" / "plugins.md"


@pytest.fixture
def acme(hitl: Hitl) -> Hitl:
    """The command where the package acme-hitl is installed, with a pager for one person."""
    hitl.env["PYTHONPATH"] = str(HERE / "acme")
    hitl.env["PAGER"] = str(hitl.folder / "pager.txt")
    (hitl.folder / "hitl.toml").write_text(
        '[people.reviewer]\npager = "$PAGER"\nnotify = ["pager", "console"]\n'
    )
    return hitl


@pytest.fixture
def broken(hitl: Hitl) -> Hitl:
    """The command where the package broken-hitl is installed."""
    hitl.env["PYTHONPATH"] = str(HERE / "broken")
    return hitl


@pytest.fixture
def signing_in(acme: Hitl) -> Iterator[GatewayProcess]:
    gateway = begin_gateway(acme, "--sign-in")
    yield gateway
    gateway.clear_away()


# One that adds something


def test_a_command_has_a_panel_of_the_help_and_runs(acme: Hitl) -> None:
    assert "Plugins" in acme.ok("--help")
    assert "how many requests wait" in acme.ok("--help")
    assert "--server" in acme.ok("count", "--help")
    acme.worker("--app", ASKS)
    acme.ok("start", "r", '{"prompt": "Well?"}', "--workflow", "asks")
    acme.waiting()
    assert acme.ok("count").strip() == acme.ok("-S", acme.url, "count").strip() == "1"


def test_no_plugin_takes_the_place_of_what_hitl_has(acme: Hitl) -> None:
    acme.create()
    assert acme.json("pending") == []


def test_a_channel_takes_messages_and_stands_among_the_addresses(acme: Hitl) -> None:
    reached = [{"by": "pager", "where": "pager.txt"}, {"by": "console", "where": "the worker's terminal"}]
    assert acme.json("notify", "list")[0]["addresses"] == reached
    acme.worker("--app", ASKS)
    acme.ok("start", "r", '{"prompt": "Well?", "to": ["reviewer"]}', "--workflow", "asks")
    pager = Path(acme.env["PAGER"])
    wait_until(lambda: pager.exists() and "Well?" in pager.read_text())
    [item] = acme.waiting()
    wait_until(lambda: "pager" in acme.ok("show", item["id"]))


def test_an_address_that_a_channel_does_not_take_is_told(acme: Hitl) -> None:
    done = acme.run(
        "notify", "test", "reviewer", "--channel", "pager", "--json", env={"PAGER": str(acme.folder)}
    )
    assert done.returncode == 1
    assert '"taken":false' in done.stdout.replace(" ", "")


def test_a_key_that_no_channel_has_is_refused(acme: Hitl) -> None:
    del acme.env["PYTHONPATH"]
    acme.fails(2, "pending")
    (acme.folder / "hitl.toml").write_text('[people.reviewer]\nchannels = {fax = "1"}\n')
    acme.fails(2, "pending")
    (acme.folder / "hitl.toml").write_text("")
    acme.fails(2, "notify", "test", "reviewer", "--channel", "fax")


def test_an_authenticator_identifies_people(signing_in: GatewayProcess) -> None:
    assert signing_in.get("/api/v1/requests", Accept="*/*").status == 401
    assert signing_in.get("/api/v1/requests", **{"X-Badge": "lead"}).status == 200
    assert "lead" in signing_in.get("/", **{"X-Badge": "lead"}).words


def test_whom_an_authenticator_names_must_be_a_person(signing_in: GatewayProcess) -> None:
    assert signing_in.get("/api/v1/requests", **{"X-Badge": "group:all", "Accept": "*/*"}).status == 401


def test_a_scheme_leads_to_a_server_with_workers_and_upkeep(acme: Hitl) -> None:
    real = acme.url
    acme.env |= {"ACME_MAIN": real, "HITL_SERVER": "acme://main"}
    acme.worker()
    acme.ok("start", "r")
    assert [one["id"] for one in acme.waiting()] == ["r:1"]
    acme.ok("approve", "r:1")
    assert acme.ok("wait", "r")
    acme.ok("backup", "copy.db")
    assert acme.database.with_name(acme.database.name + ".keys") == acme.folder / "hitl.db.keys"
    assert acme.json("status", "-S", real)[0]["state"] == "completed"
    acme.fails(2, "pending", "-S", "acme://other")


# One that is broken


def test_a_broken_command_is_one_line_and_the_help_has_the_others(broken: Hitl) -> None:
    done = broken.run("--help")
    assert done.returncode == 0
    assert "pending" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("gone", "number", "strange"), strict=True):
        assert "broken_hitl" in line
        assert repr(name) in line
    assert "ModuleNotFoundError" in lines[0]


def test_a_broken_command_that_is_called_is_no_command(broken: Hitl) -> None:
    said = broken.fails(2, "gone")
    assert said.count("ModuleNotFoundError") == 1
    assert "no such command 'gone'" in said


def test_what_is_not_asked_for_is_not_loaded(broken: Hitl) -> None:
    broken.create()
    done = broken.run("pending")
    assert (done.returncode, done.stderr) == (0, "No open requests.\n")


def test_a_broken_channel_takes_nothing_and_the_next_one_does(broken: Hitl) -> None:
    (broken.folder / "hitl.toml").write_text('[people.reviewer]\nmute = "x"\nnotify = ["mute", "console"]\n')
    broken.create()
    broken.ok("pending")
    done = broken.run("notify", "test", "reviewer", "--json")
    assert done.returncode == 1
    assert done.stderr.count("'mute' of broken_hitl") == 1
    taken = {one["by"]: one["taken"] for one in json.loads(done.stdout)}
    assert taken == {"mute": False, "console": True}


def test_a_broken_scheme_is_no_server(broken: Hitl) -> None:
    said = broken.fails(2, "pending", "-S", "dead://host")
    assert "ignoring the plugin 'dead' of broken_hitl (hitl.servers): SystemExit: no licence" in said


def test_a_broken_authenticator_is_one_line_and_identifies_nobody(broken: Hitl) -> None:
    gateway = begin_gateway(broken, "--sign-in")
    try:
        gateway.complained("ignoring the plugin 'forger' of broken_hitl (hitl.authenticators)")
        gateway.complained("RuntimeError: first line second line")
        assert gateway.get("/api/v1/requests", Accept="*/*").status == 401
        assert gateway.get("/sign-in").status == 200
    finally:
        gateway.kill()


def test_two_that_are_installed_do_not_disturb_each_other(acme: Hitl) -> None:
    acme.env["PYTHONPATH"] += f":{HERE / 'broken'}"
    acme.create()
    assert acme.ok("count").strip() == "0"


# Hitl's own


def test_what_hitl_ships_is_what_its_hooks_ask_for() -> None:
    def loaded(group: plugins.Group) -> list[object]:
        return [plugins.load(plugin, _is_anything) for plugin in plugins.every(group).values()]

    assert all(
        isinstance(found, Driver) and isinstance(found, WorkerDriver) for found in loaded("hitl.servers")
    )
    assert all(isinstance(found, Channel) for found in loaded("hitl.channels"))
    assert all(callable(found) for found in loaded("hitl.authenticators"))


def _is_anything(found: object) -> TypeGuard[object]:
    return found is not None


def test_the_help_has_every_command_that_is_registered() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert sorted(group.list_commands(typer.Context(group))) == sorted(plugins.every("hitl.commands"))


def test_the_example_in_the_docs_is_the_package_that_is_tested() -> None:
    text = DOCS.read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    assert code == (HERE / "acme" / "acme_hitl.py").read_text()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[hitl.commands]\na = b:c\n", [("a", "b:c")]),
        ("[hitl.commands]\n# a = b\n; a = b\n\na.b-c = d.e : f [extra]\n", [("a.b-c", "d.e:f")]),
        ("[console_scripts]\na = b:c\n[hitl.commands]\n", []),
        ("a = b\n[hitl.commands]\nno sense\n", []),
    ],
)
def test_entry_points_are_read_as_installers_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: list[tuple[str, str]]
) -> None:
    folder = tmp_path / "Some_Package-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    read = plugins._read(plugins._folders())
    ours = [plugin for plugin in read.values() if plugin.package == "some_package"]
    assert [(plugin.name, plugin.place) for plugin in ours] == found
