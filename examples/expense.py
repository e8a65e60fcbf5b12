"""Pay an expense once as many have approved as the amount asks for. Whoever handed it in is not one of them.

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
"""From here on two must approve."""


class Payment(Struct, frozen=True):
    """What an approval says: the form that is filled in."""

    amount: Annotated[int, Meta(ge=1, description="in euros")]
    account: str = "general"


@workflow
async def expense(ctx: Context, what: str, amount: int) -> str:
    """Ask, and pay what was approved, which may be less than was asked for."""
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
    """Pay. This is where a bank would be called, with an id that it pays once."""
    return f"{payment.amount} € paid for {what} from {payment.account}"
