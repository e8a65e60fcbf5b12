"""Fixtures of the tests on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.postgres.client import PostgresClient

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all of them to `make heavy`."""
    for item in items:
        if item.nodeid.startswith("tests/postgres/"):
            item.add_marker("heavy")


@pytest.fixture
def client(database: str) -> Iterator[PostgresClient]:
    with PostgresClient(database) as client:
        yield client
