"""Commands read as the person of `--as`, and say so when they find nothing that this person may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Hitl

SETTINGS = """
[visibility]
default = "assigned"
[roles]
auditor = ["auditor"]
[people.lead]
[people.auditor]
"""


@pytest.fixture
def assigned(hitl: Hitl) -> Hitl:
    """Two requests to lead, one of them decided, and a run, where others see none of them."""
    (hitl.folder / "hitl.toml").write_text(SETTINGS)
    put(hitl, "open", Question(prompt="Ship?", to=("lead",)), by="asker")
    put(hitl, "decided", Question(prompt="Pay?", to=("lead",)), by="asker")
    hitl.ok("approve", "decided", "--as", "lead")
    hitl.ok("start", "run-1", "--as", "lead")
    hitl.ok("away", "--until", "2d", "--as", "lead")
    return hitl


@pytest.mark.parametrize(
    "args",
    [
        ["show", "open"],
        ["history", "decided"],
        ["status", "run-1"],
        ["wait", "decided"],
        ["link", "open", "--for", "lead"],
        ["verify", "decided"],
        ["export"],
    ],
    ids=lambda args: args[0],
)
def test_commands_read_as_the_named_person(assigned: Hitl, args: Sequence[str]) -> None:
    assert assigned.run(*args, "--as", "eve").returncode in {3, 7}
    assigned.ok(*args, "--as", "auditor")


@pytest.mark.parametrize(
    "args", [["pending"], ["history"], ["status"], ["stats"], ["away"]], ids=lambda args: args[0]
)
def test_an_empty_list_says_whose_it_is_where_not_everyone_sees_everything(
    assigned: Hitl, args: Sequence[str]
) -> None:
    assert "eve" in assigned.run(*args, "--as", "eve").stderr
    assert "auditor" not in assigned.run(*args, "--as", "auditor").stderr


def test_a_watched_list_that_is_empty_says_whose_it_is(assigned: Hitl) -> None:
    watching = assigned.popen("pending", "--watch", "--as", "eve")
    assert watching.stderr is not None
    try:
        assert "eve" in watching.stderr.readline()
    finally:
        watching.kill()
        watching.communicate()


def test_open_takes_the_person_too(assigned: Hitl) -> None:
    nobody_listens = "http://127.0.0.1:9"
    assigned.fails(6, "open", "open", "--as", "lead", "--url", nobody_listens)
