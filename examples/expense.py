"""Pay an expense after one or two approvals, by amount. Nobody can approve their own expense.

hitl worker --app examples/expense.py
hitl start expense-1 laptop 1900 --workflow expense --as clerk
hitl approve expense-1 --set amount=1800 --as lead --comment "they had an offer"
hitl approve expense-1 --set amount=1800 --set account=IT --as finance
hitl wait expense-1
"""

from typing import Annotated

from msgspec import Meta, Struct
from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow

LARGE = 1_000
"""Amounts from here on need two approvals."""


class Payment(Struct, frozen=True):
    """The form that an approval fills in."""

    amount: Annotated[int, Meta(ge=1, description="in euros")]
    account: str = "general"


@workflow
async def expense(ctx: Context, what: str, amount: int) -> str:
    """Ask, and pay the approved amount, which may be less."""
    decision = await ask(
        ctx,
        f"Pay **{amount} €** for {what}?",
        form=Payment,
        to=["lead", "finance", "board"],
        approvals=2 if amount >= LARGE else 1,
        allow_self=False,
        deadline="14d",
        on_deadline="reject",
        remind="2d",
    )
    if not decision.approved:
        return f"{what} is not paid: {decision.reason}"
    return await ctx.run(pay, what, decision.data)


def pay(_ctx: Context, what: str, payment: Payment) -> str:
    """Pay. Call a bank here, with an id that prevents a second payment."""
    return f"{payment.amount} € paid for {what} from {payment.account}"
