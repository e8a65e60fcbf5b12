"""The workflows that every worker serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.builtin.approval import approval
from hitl_cli.builtin.ask_request import ask_request
from hitl_cli.builtin.email_verification import email_verification
from hitl_cli.builtin.send_email import send_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WORKFLOWS: dict[str, Callable[..., Any]] = {
    "approval": approval,
    "ask": ask_request,
    "email-verification": email_verification,
    "foo": approval,
    "send_email": send_email,
}
"""By the name that runs are started with. `foo` is the name in the examples of Resonate's pattern."""
