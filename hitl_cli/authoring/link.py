"""What a worker reaches people by, and the links that its steps send them."""

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
    """Return the URL by which a person answers a request (its id), for as long as it can be answered.

    It is signed here, where it is sent, and differs each time: keep it out of what a step returns. Raises
    BadInput where the keys cannot be read, NotAllowed for a request of another run: whoever may start a run
    chooses what its function is given, and is not to be sent links to all that is asked.
    """
    if request.partition(":")[0] != ctx.info.id.partition(":")[0]:
        raise NotAllowed(f"{request} is no request of this run, which gives links to its own alone.")
    reach = ctx.get_dependency(NotificationSettings)
    if reach.keys is None:
        return page_of(reach.now.gateway, request)
    from hitl_cli.auth.links import Link, fresh_link_id, url_of

    now = sdk.now(ctx)
    link = Link(
        request=request, person=person, made_at=now, ends_at=now + LONGEST_LIFE_MS, id=fresh_link_id()
    )
    return url_of(reach.now.gateway, link, load_keys(reach.keys, now))
