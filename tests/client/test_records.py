"""Records are stored whole, or not without an error."""

from __future__ import annotations

import msgspec
import pytest

from hitl_cli.client.http import HttpClient
from hitl_cli.client.protocol import ProtocolRequest, ProtocolResponse
from hitl_cli.client.records import alone, store
from hitl_cli.errors import Unreachable


class Failing(HttpClient):
    """A client of a server that stores a record, and cannot close it."""

    def call_many(self, requests: list[ProtocolRequest]) -> list[ProtocolResponse]:  # type: ignore[override]
        made = msgspec.json.encode({"promise": requests[0].data | {"state": "pending", "createdAt": 0}})
        return [ProtocolResponse(200, msgspec.Raw(made)), ProtocolResponse(500, msgspec.Raw(b'"full"'))]


def test_a_record_that_stays_pending_is_an_error() -> None:
    with pytest.raises(Unreachable):
        store(Failing.__new__(Failing), alone("r", None, {}, until=9))
