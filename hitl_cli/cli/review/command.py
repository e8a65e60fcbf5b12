"""`hitl review`: open requests one at a time, with single-key shortcuts."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli.cli.context import AsPerson, inbox_of
from hitl_cli.cli.decide import signer_of
from hitl_cli.cli.options import Matching, Sign, SshKey, flag
from hitl_cli.cli.output import is_terminal, note
from hitl_cli.cli.pending import FIRST, SortBy, Tagged, To, asked_names, checked_word
from hitl_cli.errors import BadUsage
from hitl_cli.inbox.pending import RequestFilter, read_tags
from hitl_cli.people.actor import check_person

if TYPE_CHECKING:
    from hitl_cli.cli.review.session import ReviewSession

UNDRAWABLE = ("", "dumb", "unknown")
"""Values of TERM for terminals that cannot draw a screen."""


def review(
    ctx: AsPerson,
    mine: Annotated[
        bool, flag("Only requests that you may answer now (the default).", "--mine", "-m")
    ] = False,
    to: To = None,
    workflow: Matching = None,
    tags: Tagged = None,
    sort: SortBy = "age",
    every: Annotated[bool, flag("Include requests that only others may answer.", "--all", "-a")] = False,
    sign: Sign = False,
    key: SshKey = None,
) -> None:
    """Answer open requests one at a time with single keys. Each decision can be undone for 5 s."""
    if not is_terminal(sys.stdin, sys.stdout) or os.environ.get("TERM", "dumb").lower() in UNDRAWABLE:
        raise BadUsage(
            "`hitl review` needs an interactive terminal. Otherwise use `hitl pending`, then"
            " `hitl approve ID` or `hitl reject ID`."
        )
    from hitl_cli.cli.review.screen import Screen, draw
    from hitl_cli.cli.review.session import Look, ReviewSession, offered

    def tell(text: str) -> None:
        desk.tell(text)

    me = ctx.actor(via="review")
    check_person(me.person)
    wanted = RequestFilter(
        workflow=workflow,
        to=asked_names(to, mine=mine),
        person=None if every and not mine else me.person,
        tags=read_tags(tags or [], "--tag"),
    )
    signer = signer_of(ctx.settings, me, sign=sign, key=key, tell=tell, quiet=True)
    first = checked_word("--sort", sort, list(FIRST))
    contacts, group = ctx.settings.contacts(), ctx.settings.group().value
    look = Look(me, wanted, first, every, signer, contacts, group)
    with ctx.client() as client:
        # An unreachable server is reported before the screen opens.
        offered(inbox_of(client, me), look, limit=1)
    desk = ReviewSession(
        ctx.client,
        look,
        draw,
        lambda: time.monotonic_ns() // 1_000_000,
    )
    screen = Screen(desk, me.person)
    desk.start()
    try:
        end = screen.run()
    except BaseException:
        _tell_not_sent(desk, send=False)
        raise
    failed = _tell_not_sent(desk, send=end.send)
    summary, more = desk.summary()
    print(
        f"{summary.approved} approved, {summary.rejected} rejected, {summary.commented} commented,"
        f" {summary.skipped} skipped, {summary.left}{' or more' if more else ''} left"
    )
    if failed:
        raise typer.Exit(1)


def _tell_not_sent(desk: ReviewSession, *, send: bool) -> bool:
    """End the session, and report decisions that were not sent. Returns whether there are any."""
    held = desk.held()
    if send and held:
        note(f"Sending the remaining decisions: {', '.join(one.id for one, _ in held)}.")
    dropped = desk.end(send=send)
    if dropped:
        note(f"Not sent: {', '.join(f'{one.answer.verdict} {one.id}' for one in dropped)}.")
    for words in desk.idle:
        note(words)
    for words in desk.last_words:
        note(f"hitl: {words}")
    return bool(dropped or desk.last_words)
