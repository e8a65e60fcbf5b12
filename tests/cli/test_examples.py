"""The examples do what they say: the commands in their docstrings are run as they stand."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth.links import link_in, token_of
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.runs.reading import get_run
from tests.cli.curl import curl
from tests.conftest import WorkerProcess, wait_until
from tests.docs.pages import BLOCK, settled
from tests.docs.pages import commands as shown_commands
from tests.notify.receivers import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(example: str) -> list[list[str]]:
    """Return the commands in an example's docstring, as `hitl` is given them."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{example}.py").read_text())) or ""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("hitl ")]


def run_as_written(hitl: Hitl, example: str) -> object:
    """Run the commands of an example, each once the one before has had its effect; return the last output."""
    (hitl.folder / "examples").symlink_to(EXAMPLES)
    worker, *rest = commands(example)
    assert worker == ["worker", "--app", f"examples/{example}.py"]
    hitl.worker(*worker[1:])
    printed = ""
    for command in rest:
        if command[0] not in ("start", "wait"):
            wait_until(lambda: asks(hitl, rest[0][1]))
        printed = hitl.ok(*command)
    return json.loads(printed)


def asks(hitl: Hitl, run: str) -> bool:
    """Whether a run waits for people, and for nothing else."""
    with hitl.client() as client:
        seen = get_run(client, run)
        return seen.state == "waiting" and bool(seen.requests)  # it also waits for a worker at first


def test_every_example_is_run_here() -> None:
    tested = {"deploy", "fan_out", "expense", "deployment_gate", "content_review", "agent"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
    folders = {"agents", "email_verification", "rust", "typescript"}  # three of them by tests of that name
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name[0] not in "_."} == folders


def test_deploy(hitl: Hitl) -> None:
    assert run_as_written(hitl, "deploy") == "1.4.2 is out, approved by ada"


def test_fan_out(hitl: Hitl) -> None:
    assert run_as_written(hitl, "fan_out") == {"legal": "yes", "security": "no: no encryption"}


def test_expense(hitl: Hitl) -> None:
    assert run_as_written(hitl, "expense") == "1800 € paid for laptop from IT"


def test_of_an_expense_its_amount_says_how_many_must_approve_and_never_whoever_handed_it_in(
    hitl: Hitl,
) -> None:
    hitl.worker("--app", str(EXAMPLES / "expense.py"))
    hitl.ok("start", "e", "pencil", "7", "--workflow", "expense", "--as", "lead")
    wait_until(lambda: asks(hitl, "e"))
    hitl.fails(7, "approve", "e", "--set", "amount=7", "--as", "lead", code="self-approval")
    hitl.fails(7, "approve", "e", "--set", "amount=7", "--as", "clerk", code="not-assignee")
    assert "amount" in hitl.fails(
        2, "approve", "e", "--set", "amount=0", "--as", "board", code="does-not-fit-form"
    )
    hitl.ok("approve", "e", "--set", "amount=7", "--as", "board")
    assert json.loads(hitl.ok("wait", "e")) == "7 € paid for pencil from general"


def test_a_deployment_gate(hitl: Hitl) -> None:
    (hitl.folder / "app.tar").write_bytes(b"content")
    assert run_as_written(hitl, "deployment_gate") == "app.tar is in production"


def test_a_deployment_gate_lets_nothing_else_through_than_what_was_approved(hitl: Hitl) -> None:
    artifact = hitl.folder / "app.tar"
    artifact.write_bytes(b"content")
    hitl.worker("--app", str(EXAMPLES / "deployment_gate.py"))
    hitl.ok("start", "g", "app.tar", "--workflow", "gate")
    wait_until(lambda: asks(hitl, "g"))
    artifact.write_bytes(b"other content")
    hitl.ok("approve", "g", "--as", "ops")
    assert "app.tar differs from the file that ops approved" in hitl.fails(1, "wait", "g", code="run-failed")


def test_content_review(hitl: Hitl) -> None:
    assert run_as_written(hitl, "content_review") == "published: Hello world"


def test_an_agent(hitl: Hitl) -> None:
    attic = hitl.folder / "attic"
    attic.mkdir()
    for name in ("cache.tmp", "photo.jpg"):
        (attic / name).touch()
    assert run_as_written(hitl, "agent") == [
        "found cache.tmp, photo.jpg",
        "deleted attic/cache.tmp",
        "not allowed to delete attic/photo.jpg: these are the only ones",
    ]
    assert [path.name for path in attic.iterdir()] == ["photo.jpg"]


# E-mail verification: two services, and a gateway


class Services:
    """The services of the example, each in a process of its own, and the gateway."""

    def __init__(self, hitl: Hitl) -> None:
        (hitl.folder / "examples").symlink_to(EXAMPLES)
        blocks = BLOCK.findall((EXAMPLES / "email_verification" / "README.md").read_text())
        lines = [line for kind, block in blocks if kind == "console" for line in shown_commands(block)]
        self._hitl = hitl
        self._start, self.typed = lines[:3], lines[3:]
        self.started: list[WorkerProcess] = []

    def start(self, number: int, **env: str) -> WorkerProcess:
        """Start the service of that number as the README says; the third is the gateway."""
        program, *args = shlex.split(self._start[number][0])
        assert program == "hitl"
        port = ["--port", "0"] if args == ["gateway"] else []
        command = [*self._hitl.command, *args, *port]
        self.started.append(WorkerProcess(command, {**self._hitl.env, **env}, self._hitl.folder))
        self.started[-1].said("gateway for" if port else "serving")
        return self.started[-1]


@pytest.fixture
def services(hitl: Hitl) -> Iterator[Services]:
    every = Services(hitl)
    yield every
    for one in every.started:
        one.clear_away()


def test_an_address_is_verified_as_the_readme_says(hitl: Hitl, services: Services) -> None:
    hitl.env["HITL_AS"] = "you"
    _, mail, gateway = (services.start(number) for number in range(3))
    url = gateway.said("gateway for").split(" on ")[1].split()[0]
    for line, expected in services.typed:
        if line.startswith("curl"):
            printed = curl(line.replace("http://127.0.0.1:5001", url))
        else:
            printed = hitl.ok(*shlex.split(line)[1:])
        assert settled(printed) == settled(expected), line
        if "/start" in line:
            mail.said("Please confirm your address")
    assert len([line for line in mail.lines if "Please confirm" in line]) == 1


def test_the_mail_goes_out_once_its_service_is_there_and_its_server_takes_it(
    hitl: Hitl, services: Services
) -> None:
    workflow_service = services.start(0)
    hitl.ok("start", "workflow-a@example.org", "a@example.org", "--workflow", "email-verification")
    wait_until(lambda: asks(hitl, "workflow-a@example.org"))
    workflow_service.kill()
    with Mailbox() as mailbox:
        mailbox.fail_with(451)
        mail = services.start(1, SMTP_SERVER=f"127.0.0.1:{mailbox.port}")
        mail.complained("failed, retrying: ")
        [received] = mailbox.wait_for()
    link = next(line for line in received.get_content().splitlines() if line.startswith("http"))
    with hitl.client() as client:
        keys = load_keys(hitl.keys, client.now())
        signed = link_in(token_of(link), keys)
    assert (signed.request, signed.person) == ("workflow-a@example.org:1.1", "a@example.org")
    hitl.ok("approve", "email-confirmed-a@example.org")
    services.start(0)
    assert json.loads(hitl.ok("wait", "workflow-a@example.org")) == "a@example.org is confirmed"
