"""What differs between two questions, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.wire import same_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.client.wire import Json

SHOWN = 200
"""Characters that are shown of what differs."""


def differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """Return a line for each part in which one question differs from another."""
    return [
        f"{part}: it was {_as_json(before.get(part))}, and is {_as_json(now.get(part))} now"
        for part in dict.fromkeys([*before, *now])
        if not same_json(before.get(part), now.get(part))
    ]


def _as_json(value: Json) -> str:
    """Return a value as JSON, cut to fit a sentence."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
