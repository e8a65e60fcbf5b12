"""`hitl checkpoint`, `hitl export` and `hitl receipt`: proof that the history was not changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec

from hitl_cli.cli.completion import complete_promise
from hitl_cli.cli.context import AsPerson, ledger_of
from hitl_cli.cli.options import CheckpointKey, argument, flag, value
from hitl_cli.errors import BadInput
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable_json
from hitl_cli.proof.checkpoint import read_checkpoint


def checkpoint(ctx: AsPerson, key: CheckpointKey = None) -> None:
    """Sign a summary of all decisions so far, and print it. Keep it elsewhere, for `hitl verify`."""
    with ctx.opened(ledger_of) as (ledger, _):
        print(msgspec.json.encode(ledger.checkpoint(ctx.settings.checkpoint_signer(key))).decode())


def export(
    ctx: AsPerson,
    since: Annotated[str | None, value("DURATION", "Only from the last DURATION, e.g. 30d.")] = None,
    until: Annotated[str | None, value("DURATION", "Only entries older than DURATION.")] = None,
) -> None:
    """Print the history as JSON Lines, which `hitl verify FILE` checks on any machine."""
    with ctx.opened(ledger_of) as (ledger, client):
        now = client.now()
        ago = [None if text is None else max(now - parse_duration(text), 0) for text in (since, until)]
        for line in ledger.export(ctx.settings.checkpoint_keys, *ago):
            print(printable_json(line.decode()), end="")


def receipt(
    ctx: AsPerson,
    id: Annotated[str, argument("ID", "A decided request.", complete=complete_promise)],
    as_html: Annotated[bool, flag("Print a page of HTML instead of JSON.", "--html")] = False,
    checkpoint: Annotated[
        Path | None,
        value("FILE", "Include a proof that this checkpoint covers the decision. Default: the latest one."),
    ] = None,
) -> None:
    """Print proof of one decision, which `hitl verify FILE` checks on any machine."""
    against = None
    if checkpoint is not None:
        try:
            against = read_checkpoint(checkpoint.read_bytes(), str(checkpoint))
        except OSError as error:
            raise BadInput(f"{checkpoint} cannot be read: {error.strerror}.", code="bad-file") from error
    with ctx.opened(ledger_of) as (ledger, _):
        made = ledger.receipt(id, ctx.settings.checkpoint_keys, against)
    if as_html:
        from hitl_cli.ledger.page import receipt_page

        sys.stdout.write(receipt_page(made, ctx.settings.groups(), ctx.settings.checkpoint_keys))
    else:
        print(printable_json(msgspec.json.encode(made).decode()))
