"""Checks of the checkpoints of the history for `hitl doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.connect import connect_existing
from hitl_cli.errors import HitlError
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.ledger.checkpoints import stored
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from hitl_cli.people.checkpoints import CheckpointSettings

ADVICE = "see the log of a worker or gateway that has the key (docs/guides/checkpoints.md)"


def examine_checkpoints(settings: CheckpointSettings, url: str, token: str | None) -> list[Finding]:
    """Return the findings on whether checkpoints are made as the settings say."""
    if settings.every is None:
        return []
    try:
        with connect_existing(url, token) as client:
            last, now = next(stored(client, settings.known), None), client.now()
    except HitlError as error:
        return [Finding("checkpoints", "warning", str(error))]
    if last is None:
        text = f"there is none, although checkpoints.every is {settings.every}"
        return [Finding("checkpoints", "warning", text, ADVICE)]
    ago = f"the last one was made {format_duration(now - last.at)} ago and covers {last.size:,} leaves"
    late = now - last.at > 2 * parse_duration(settings.every)
    return [Finding("checkpoints", "warning" if late else "ok", ago, ADVICE if late else None)]
