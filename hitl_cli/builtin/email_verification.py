"""`email-verification`: e-mail a link to an address, wait until it is confirmed, and continue.

The mail is sent by `send_email`, which runs on any worker of the group `email-service`.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli.authoring.ask import ask
from hitl_cli.builtin.verification_api import key_of, normal_address
from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.errors import BadInput

EMAIL_GROUP = "email-service"
LIFE = timedelta(milliseconds=DEADLINE_MS)


async def email_verification(ctx: Context, email: str) -> dict[str, Any]:
    """Verify an e-mail address, and return whether it was confirmed, by whom and when."""
    try:
        address = normal_address(email)
    except BadInput as error:  # an exception would be retried
        return {"email": email, "confirmed": False, "reason": str(error)}
    # "keep": a later version may word the prompt differently and still ask the same.
    asked = ask(ctx, f"Is {address} yours?", key=key_of(address), on_change="keep")
    request = await asked.id()  # the request must exist before its link is sent
    await ctx.options(target=EMAIL_GROUP, timeout=LIFE).rpc("send_email", address, request)
    decision = await asked
    if not decision.approved:
        return {"email": address, "confirmed": False, "reason": decision.reason}
    await ctx.run(go_on, address)
    return {"email": address, "confirmed": True, "by": decision.by, "at": decision.at}


def go_on(_ctx: Context, address: str) -> None:
    """Print that the address was confirmed. Your own workflow has its next step here."""
    print(f"e-mail address {address} confirmed", flush=True)
