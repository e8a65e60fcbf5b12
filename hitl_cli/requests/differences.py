"""The differences between two questions, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.wire import same_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.client.wire import Json

SHOWN = 200
"""Most characters of a value in a difference."""


def differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """Return a line for each part in which two questions differ."""
    return [
        f"{part}: it was {_as_json(before.get(part))}, and is now {_as_json(now.get(part))}"
        for part in dict.fromkeys([*before, *now])
        if not same_json(before.get(part), now.get(part))
    ]


def _as_json(value: Json) -> str:
    """Return a value as JSON, shortened for a message."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
