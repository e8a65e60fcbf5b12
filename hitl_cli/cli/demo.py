"""`hitl demo`: an approval, e-mail verification across services, an agent that asks, or proof."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hitl_cli.cli.context import handling
from hitl_cli.cli.first_process import SIGNALS, end
from hitl_cli.cli.options import argument, flag
from hitl_cli.cli.output import hyperlink, is_terminal, note
from hitl_cli.people.gateway_file import unblock_link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.admin.demo import Demo

WORKFLOW_ID = "hitl-001"
PROMPT = "Deploy 1.4.2 to production?"
ADDRESS = "a@example.org"
PAY = "Pay 400 EUR to the printer?"


def demo(
    what: Annotated[
        Literal["approval", "email", "agent", "proof"],
        argument(
            "[WHAT]",
            "Which demo: approval, email (verify an address), agent (an agent asks) or proof (detect a"
            " changed database).",
        ),
    ] = "approval",
    yes: Annotated[bool, flag("Approve without a prompt.", "--yes", "-y")] = False,
) -> None:
    """Watch a workflow start, wait for a person, and complete. Uses a temporary database."""
    from hitl_cli.admin.demo import Demo

    asks = not yes and is_terminal(sys.stdin, sys.stdout)
    with (
        handling(SIGNALS, end),
        Demo(echo=_echo) as show,
    ):
        if what == "email":
            _show_verification(show, asks=asks)
        elif what == "agent":
            _show_agent(show, asks=asks)
        elif what == "proof":
            _show_proof(show)
        else:
            _show_approval(show, asks=asks)


def _echo(command: Sequence[str], into: str | None) -> None:
    """Print a command as a person types it."""
    print(f"\n$ {shlex.join(command)}{f' > {into}' if into else ''}", flush=True)


def _show_approval(show: Demo, *, asks: bool) -> None:
    """Show an approval from start to end."""
    print("A worker runs workflows. This one uses a temporary database, deleted at the end.")
    show.start("worker", "worker")
    print("\nA gateway serves the links and pages:")
    gateway = show.start_gateway()
    print("\nStart a run with an id of your choice. It asks for approval, and waits:")
    show.run("start", WORKFLOW_ID, "--kwarg", f"prompt={PROMPT}")
    promise = show.blocked()
    print("\nThe run now waits without using a process or memory. A person sees this:")
    show.run("pending")
    print(f"\nThis link approves it too: {hyperlink(unblock_link(gateway, promise))}")
    print("\nThe answer resumes the run in any running worker:")
    with show.screen:
        approved = not asks or typer.confirm(f"Approve {promise}?", default=True)
    if approved:
        show.run("approve", promise)
    else:
        show.run("reject", promise, "--reason", "not today")
    show.run("wait", WORKFLOW_ID, "--timeout", "30s", may_fail=not approved)
    print("\nWho answered, and the result:")
    show.run("status", WORKFLOW_ID)
    note("")
    note("That's it. To do it yourself: `hitl dev` in one terminal, and in another one:")
    note(f'hitl start {WORKFLOW_ID} --kwarg prompt="{PROMPT}"')


def _show_verification(show: Demo, *, asks: bool) -> None:
    """Show how an e-mail address is verified across two services."""
    print("The gateway serves programs and links.")
    gateway = show.start_gateway()
    print("\nOne service runs the workflow, another one sends mail. Here it only prints the mail:")
    show.start("worker", "worker")
    mail = show.start("mail", "worker", "--group", "email-service")
    print("\nA program requests a verification. The workflow calls the mail service, and waits:")
    print(show.post(f"{gateway}/start", f'{{"email": "{ADDRESS}"}}'))
    mail.printed("completed")
    print("\nThe link opens a page with a button that confirms the address. This command does the same:")
    if asks:
        with show.screen:
            typer.prompt(
                "Open the link and approve, or press Enter to do it here", default="", show_default=False
            )
    show.run("approve", f"email-confirmed-{ADDRESS}", may_fail=asks)
    show.run("wait", f"workflow-{ADDRESS}", "--timeout", "30s")
    print("\nWho confirmed it, and the result:")
    show.run("status", f"workflow-{ADDRESS}")
    note("")
    note("That's it. To build your own, copy examples/email_verification.")


def _show_agent(show: Demo, *, asks: bool) -> None:
    """Show an agent whose command is approved with a change."""
    print("An agent is at work. Instead of a model, this one has a fixed plan.\n")
    agent = show.start_agent()
    request = show.blocked()
    print("\nIt waits, and so does its command. A person sees exactly what would run:")
    show.run("show", request)
    print("\nFifty are too many: the person approves four. The agent's tool defines what people may change.")
    with show.screen:
        approved = not asks or typer.confirm(f"Approve {request} with 4 replicas?", default=True)
    if approved:
        show.run("approve", request, "--set", "replicas=4")
        agent.printed("now has")
    else:
        show.run("reject", request, "--reason", "two are enough")
        agent.printed("nothing")
    print("\nWho approved what:")
    show.run("history", request)
    note("")
    note("That's it. For your own: `hitl hook install claude`, or docs/guides/agent-frameworks.md.")


def _show_proof(show: Demo) -> None:
    """Show that `hitl verify` notices a decision that was changed or removed in the database."""
    from hitl_cli.admin import demo_proof

    print("The lead and the operator (ops) each have an SSH key. The settings have their public keys.")
    demo_proof.prepare(show.folder)
    show.run("ask", PAY, "--id", "pay-7", "--to", "lead", "--proof", "signed", "--no-wait")
    show.run("ask", "Delete the old backups?", "--id", "backups", "--no-wait")
    show.run("approve", "pay-7", "--as", "lead", "--key", "lead-key")
    show.run("reject", "backups", "--as", "ops", "--reason", "not before the audit")
    print("\nThe lead signed, so the decision can be verified without trusting the database:")
    show.run("verify", "pay-7", "backups")
    print("\nA checkpoint is a signed summary of all decisions so far. Keep it on another machine:")
    show.run("checkpoint", "--key", "ops-key", into="checkpoint.json")
    print("\nNow somebody with access to the database changes what the lead approved:")
    print(f"\n{demo_proof.change(show.database, 'pay-7', PAY.replace('400', '9,400'))}", flush=True)
    show.run("verify", "pay-7", may_fail=True)
    print("\nThey also remove a decision that nobody signed. The checkpoint reveals both changes:")
    print(f"\n{demo_proof.remove(show.database, 'backups')}", flush=True)
    show.run("verify", "--checkpoint", "checkpoint.json", may_fail=True)
    note("")
    note("That's it. For your own: docs/guides/signed-decisions.md and docs/guides/checkpoints.md.")
