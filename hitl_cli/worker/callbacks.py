"""`hitl.call-back`: posts the decision on a request to its callback, once there is one, as durable steps.

It is created with the request, and waits for the decision like a run, so nothing stays in memory. A failed
post is retried like a notification (hitl_cli/notify/deliver.py).
"""

# Annotations are evaluated here, not kept as text; see deliver.py.

from functools import partial

import msgspec
from resonate.context import Context

from hitl_cli.client.protocol import Client, get_promise
from hitl_cli.client.tags import lineage
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.times import iso
from hitl_cli.format.urls import host_of
from hitl_cli.inbox.details import details
from hitl_cli.notify.channels import callbacks
from hitl_cli.notify.compose import look_up
from hitl_cli.notify.deliver import Notifier, in_rounds, step
from hitl_cli.notify.messages import KEY_DIGITS, DecisionMessage
from hitl_cli.notify.status import DeliveryAttempt
from hitl_cli.people.contacts import Address, Directory
from hitl_cli.requests.notification import Notification
from hitl_cli.sdk import context as sdk
from hitl_cli.views.request import request_details_document

TYPE = "hitl.decided"
"""The `type` of the document."""


async def call_back(ctx: Context, notice: Notification) -> bool:
    """Wait for the decision on a request, and post it to the callback. Returns whether it was accepted."""
    where = await step(ctx).run(where_to, notice)
    if not where:
        return False
    await until_decided(ctx, notice.request)
    return await step(ctx).run(post_decision, notice)


async def where_to(ctx: Context, notice: Notification) -> tuple[str, ...]:
    """Return the host of the callback, which the status shows as the recipient; empty if there is none."""
    found = await ctx.get_dependency(Notifier).bridge.run(look_up, [notice.request])
    case = found.get(notice.request)
    url = None if case is None else case.asked.callback
    return () if url is None else (host_of(url),)


async def until_decided(ctx: Context, request: str) -> None:
    """Return once a request is decided or deleted. While it is open, this attempt ends here."""
    promise = await ctx.get_dependency(Notifier).bridge.run(get_promise, request)
    if promise is None or promise.state != "pending":
        return
    tags = lineage(request, scope="global") | EXTERNAL
    found = await sdk.create(ctx, request, None, tags, promise.timeout_at)  # it exists
    if found.state == "pending":
        await sdk.named(ctx, request).promise()


async def post_decision(ctx: Context, notice: Notification) -> bool:
    """Post the decision until the callback accepts it or fails permanently. Returns whether it accepted."""
    tried = await in_rounds(ctx, lambda _place: step(ctx, once=True).run(try_once, notice))
    return tried.outcome == "sent"


async def try_once(ctx: Context, notice: Notification) -> DeliveryAttempt:
    """Post the decision once."""
    teller = ctx.get_dependency(Notifier)
    found = await teller.bridge.run(look_up, [notice.request])
    case = found.get(notice.request)
    url = "" if case is None else case.asked.callback or ""
    return await teller.attempt(
        partial(DeliveryAttempt, who=host_of(url), at=sdk.now(ctx)),
        teller.bridge.run(compose, notice=notice, directory=teller.directory),
        Address(callbacks.KIND, url),
        lambda message, to: callbacks.send(message, to.to, teller.directory.callbacks),
    )


def compose(client: Client, notice: Notification, directory: Directory) -> DecisionMessage | str:
    """Return the decision on a request as the JSON to post; or a text that says why there is none."""
    case = look_up(client, [notice.request]).get(notice.request)
    if case is None:
        return "the request no longer exists"
    seen = msgspec.structs.replace(details(client, case, directory.members), limited=True)
    if seen.decision is None:
        return "the request is open"
    if seen.unproven is not None:  # the receiver would act on it
        return f"the approval has no valid proof: {seen.unproven}"
    document = {
        "type": TYPE,
        "timestamp": iso(seen.decision.at),
        "data": request_details_document(seen, directory),
    }
    id = f"{notice.id}/{case.promise.created_at}"  # after `hitl prune`, a new request may have the same id
    return DecisionMessage(
        key=stable_id(id, KEY_DIGITS), request=notice.request, body=msgspec.json.encode(document)
    )
