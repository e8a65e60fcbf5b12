"""The service that runs the workflow: requests a mail, waits for the confirmation, and continues."""

from datetime import timedelta

from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow

YEAR = timedelta(days=365)  # the default of the SDK for a call is one day


@workflow(name="email-verification")
async def email_verification(ctx: Context, email: str) -> str:
    """Request the mail with the link, wait for the answer, and continue."""
    asked = ask(ctx, f"Is {email} yours?", key=f"email-confirmed-{email}")
    request = await asked.id()  # creates the request before the mail is sent
    await ctx.options(target="email-service", timeout=YEAR).rpc("send_email", email, request)
    decision = await asked
    if not decision.approved:
        return f"{email} was not confirmed: {decision.reason}"
    return await ctx.run(welcome, email)


def welcome(_ctx: Context, email: str) -> str:
    """Continue with a confirmed address."""
    print(f"welcome, {email}", flush=True)
    return f"{email} is confirmed"
