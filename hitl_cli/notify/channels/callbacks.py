"""Posting decisions to the callbacks of requests, whose URLs come from the programs that ask.

The settings name the allowed hosts (hitl_cli/people/callbacks.py). Only a host that they name as internal may
have an address that is not public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput
from hitl_cli.notify.channels.http_post import post
from hitl_cli.notify.channels.webhook import headers_of
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.callbacks import endpoint_of

if TYPE_CHECKING:
    from hitl_cli.notify.messages import DecisionMessage
    from hitl_cli.people.callbacks import CallbackSettings

KIND = "callback"


async def send(message: DecisionMessage, url: str, allowed: CallbackSettings) -> None:
    """Post a decision, signed. Raises DeliveryFailed."""
    from hitl_cli.notify.channels.outside import connector_to

    try:
        place = endpoint_of(url, allowed)
    except BadInput as error:
        raise DeliveryFailed(str(error)) from None
    connector = None if place.is_internal else connector_to(place.host)
    await post(url, message.body, headers_of(message.key, message.body, allowed.secret), connector)
