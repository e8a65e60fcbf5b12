"""Metrics that gateways and workers share."""

from __future__ import annotations

import math
import platform
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from hitl_cli.servers import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from prometheus_client.core import Metric


class ProcessMetrics:
    """The metrics of a process in a registry of its own."""

    def __init__(self, role: str, up: Callable[[], bool]) -> None:
        """`role` is gateway or worker; `up` says whether the server can be reached."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        built = {"version": version("resonate-hitl"), "python": platform.python_version(), "role": role}
        self.gauge("hitl_build_info", "Always 1; the labels say what runs.", lambda: 1, **built)
        self.gauge("hitl_server_up", "Whether the server can be reached: 1 or 0.", up)

    def gauge(self, name: str, text: str, value: Callable[[], float], **labels: str) -> None:
        """Add a gauge whose value is read at each scrape."""
        gauge = Gauge(name, text, list(labels), registry=self.registry)
        (gauge.labels(**labels) if labels else gauge).set_function(value)

    def watch_disk(self, server: str) -> None:
        """Show the free space on the disk of the server (its URL), if it is a file."""
        if server.startswith("sqlite:"):
            folder = sqlite.file(server).parent
            text = "Free bytes on the disk that holds the database file."
            self.gauge("hitl_disk_free_bytes", text, lambda: _free_on(folder))

    async def text(self) -> bytes:
        """Return all metrics as they are now."""
        return generate_latest(_Shown(self.registry))


def _free_on(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.nan


class _Shown(CollectorRegistry):
    """A registry as it is shown: without the series `_created` of each counter, which are not needed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Return the metrics with their values now."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric
