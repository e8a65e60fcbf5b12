"""Links to requests, for steps of a workflow that send them to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth.signing_keys import LONGEST_LIFE_MS, load_keys
from hitl_cli.errors import NotAllowed
from hitl_cli.people.contacts import NotificationSettings
from hitl_cli.people.gateway_file import page_of
from hitl_cli.sdk import context as sdk

if TYPE_CHECKING:
    from resonate.context import Context


def link_to(ctx: Context, request: str, person: str) -> str:
    """Return a secret URL with which one person can answer a request of this run, until it is decided.

        asked = ask(ctx, "Confirm your address?")
        await ctx.run(send, address, await asked.id())  # in `send`: link_to(ctx, request, address)

    `request` is the id of the request, `person` the person who answers. Call it in the step that sends the
    link, and do not return the link from the step: it is a secret, and differs at each call. Raises BadInput
    if the keys cannot be read, and NotAllowed for a request of another run.
    """
    # The starter of a run chooses its arguments, and must not get links to requests of other runs by them.
    if request.partition(":")[0] != ctx.info.id.partition(":")[0]:
        raise NotAllowed(
            f"{request} does not belong to this run: link_to makes links to its own requests only."
        )
    reach = ctx.get_dependency(NotificationSettings)
    if reach.keys is None:
        return page_of(reach.now.gateway, request)
    from hitl_cli.auth.links import Link, fresh_link_id, url_of

    now = sdk.now(ctx)
    link = Link(
        request=request, person=person, made_at=now, ends_at=now + LONGEST_LIFE_MS, id=fresh_link_id()
    )
    return url_of(reach.now.gateway, link, load_keys(reach.keys, now))
