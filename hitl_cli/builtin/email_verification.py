"""`email-verification`: send a link to an e-mail address, wait until it is confirmed, and go on.

The mail is sent by another service: `send_email`, on any worker of the group `email-service`.
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step
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
    """Verify an e-mail address: what is returned says whether it was confirmed, by whom and when."""
    try:
        address = normal_address(email)
    except BadInput as error:  # raised, it would be tried again
        return {"email": email, "confirmed": False, "reason": str(error)}
    # Kept: the address alone is what is asked, however a later version words it.
    asked = ask(ctx, f"Is {address} yours?", key=key_of(address), on_change="keep")
    request = await asked.id()  # it is there before anybody is sent to it
    await ctx.options(target=EMAIL_GROUP, timeout=LIFE).rpc("send_email", address, request)
    decision = await asked
    if not decision.approved:
        return {"email": address, "confirmed": False, "reason": decision.reason}
    await ctx.run(go_on, address)
    return {"email": address, "confirmed": True, "by": decision.by, "at": decision.at}


def go_on(_ctx: Context, address: str) -> None:
    """Say that the address was confirmed: the step in whose place another workflow has its own."""
    print(f"email {address} confirmed, going on", flush=True)
