"""`await decision.consume(ctx)`: use up an approval in a workflow, as a step of its own."""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

from datetime import datetime
from typing import Any

import msgspec
from resonate.context import Context

from hitl_cli.client.tags import SAID_TAG, USED_TAG, lineage
from hitl_cli.format.times import instant
from hitl_cli.notify.taking_back import VIA_WORKFLOW
from hitl_cli.requests.decision import Decision, approval_expired
from hitl_cli.requests.use import Use, check_usable, check_use, use_id, use_in
from hitl_cli.sdk import context as sdk


async def consume_in_run(ctx: Context, decision: Decision[Any], key: str | None) -> Decision[Any]:
    """Use up an approval, and return it. Replaying the run, or trying again, is the same use."""
    check_usable(decision)
    step = sdk.next_id(ctx)
    own = key or step
    until = decision.valid_until
    use: Use = await sdk.named(ctx, step).run(_use, decision.id, own, until)
    check_use(decision.id, use, own)
    if until is not None and instant(use.at) > until:
        raise approval_expired(decision)
    return decision


async def _use(ctx: Context, request: str, key: str, until: datetime | None) -> Use:
    """Record the use, and return the recorded one. A use after the approval expired is not recorded."""
    now = sdk.now(ctx)
    own = Use(by=ctx.info.origin_id, via=VIA_WORKFLOW, at=now, key=key)
    if until is not None and instant(now) > until:
        return own
    origin = request.split(":", 1)[0]
    place = lineage(request, scope="local", origin=origin)
    tags = {USED_TAG: request, SAID_TAG: "1", **place}
    kept = await sdk.create_record(ctx, use_id(request), msgspec.to_builtins(own), tags)
    return use_in(kept.param.data, kept.created_at)


_use.__name__ = "consume"  # the name of the step in the tree of a run
