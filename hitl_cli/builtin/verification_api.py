"""E-mail verification for programs: start it and confirm it. Each address has one run and one request key.

The workflow itself is in `hitl_cli/builtin/email_verification.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hitl_cli import defaults
from hitl_cli.errors import BadInput, NotFound
from hitl_cli.format.terminal import ascii_host
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.resolve import keyed
from hitl_cli.people.sight import Sight
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.people.actor import Actor
    from hitl_cli.runs.run import Started

WORKFLOW = "email-verification"

LOCAL = re.compile(r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""The part before the @: a dot-atom (RFC 5322), which is safe in headers and ids. `=?` is excluded because
mail programs decode it."""

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

LONGEST_LOCAL, LONGEST_LABEL, LONGEST_ADDRESS = 64, 63, 254
"""Characters (RFC 5321)."""


def normal_address(text: str) -> str:
    """Return an e-mail address in its normal form: the domain in lower case and in ASCII.

    The part before the @ is not changed: only the mail host knows whether its case matters. Raises BadInput.
    """
    local, at, domain = text.strip().rpartition("@")
    try:
        host = ascii_host(domain).lower()
    except UnicodeError:
        host = ""
    address = f"{local}@{host}"
    labels = host.split(".")
    if (
        not at
        or len(address) > LONGEST_ADDRESS
        or len(local) > LONGEST_LOCAL
        or LOCAL.fullmatch(local) is None
        or not all(len(label) <= LONGEST_LABEL and LABEL.fullmatch(label) for label in labels)
    ):
        raise BadInput(f"{text[:LONGEST_ADDRESS]!r} is not an e-mail address.")
    return address


def run_id(address: str) -> str:
    """Return the id of the run that verifies an address, the same for each call."""
    return f"workflow-{address}"


def key_of(address: str) -> str:
    """Return the key of the request to confirm an address."""
    return f"email-confirmed-{address}"


def start(client: Client, actor: Actor, email: str, *, group: str = defaults.GROUP) -> Started:
    """Start the verification of an address, or return the run that was started before.

    Raises BadInput (not an address), Conflict (another run has its id).
    """
    address = normal_address(email)
    spec = RunSpec(id=run_id(address), workflow=WORKFLOW, args=[address])
    return Runs(client, actor).start(spec, group=group)


def confirm(client: Client, actor: Actor, email: str) -> DecisionResult:
    """Confirm an address. Confirming it twice is not an error.

    Raises BadInput (not an address), NotFound (no verification is waiting), Conflict, TimedOut.
    """
    address = normal_address(email)
    found = keyed(client, key_of(address), Sight(actor, acting="decide"))
    own = [promise for promise in found if promise.origin == run_id(address)] or found
    if not own:
        raise NotFound(f"no verification of {address} is waiting.")
    return Inbox(client, actor).decide(own[0].id, DecisionInput(verdict="approve"))
