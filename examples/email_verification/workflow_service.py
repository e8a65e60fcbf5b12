"""The service that runs the workflow: has a mail sent, waits until the address is confirmed, and goes on."""

from datetime import timedelta

from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow

YEAR = timedelta(days=365)  # the SDK's own timeout of a call is a day


@workflow(name="email-verification")
async def email_verification(ctx: Context, email: str) -> str:
    """Have the link sent, wait for the answer, go on."""
    asked = ask(ctx, f"Is {email} yours?", key=f"email-confirmed-{email}")
    request = await asked.id()  # it is there before anybody is sent to it
    await ctx.options(target="email-service", timeout=YEAR).rpc("send_email", email, request)
    decision = await asked
    if not decision.approved:
        return f"{email} is not theirs: {decision.reason}"
    return await ctx.run(welcome, email)


def welcome(_ctx: Context, email: str) -> str:
    """Do what comes next."""
    print(f"welcome, {email}", flush=True)
    return f"{email} is confirmed"
