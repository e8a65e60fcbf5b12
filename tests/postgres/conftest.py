"""Fixtures: one server for a process of tests, and a fresh database for each test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.postgres.client import PostgresClient
from tests.postgres.cluster import TEMPLATE, Cluster, cluster, resonate_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = "no schema of resonate-pg here: name it in HITL_RESONATE_SQL (resonatehq/resonate-pg, resonate.sql)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all of them to `make heavy`."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("heavy")


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """A server whose template database has everything installed."""
    if resonate_sql() is None:
        if os.environ.get("CI"):
            pytest.fail(WANTED)
        pytest.skip(WANTED)
    with cluster() as running:
        running.prepare_template()
        yield running


@pytest.fixture
def database(server: Cluster) -> Iterator[str]:
    """The URL of a fresh database with everything installed."""
    url = server.create(TEMPLATE)
    yield url
    server.drop(url)


@pytest.fixture
def client(database: str) -> Iterator[PostgresClient]:
    with PostgresClient(database) as client:
        yield client
