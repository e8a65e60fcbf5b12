"""A gateway in a thread of its own.

A step that blocks the worker's event loop does not block the pages.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hitl_cli.engine.http.serving_thread import ServingThread
from hitl_cli.gateway.app import run
from hitl_cli.gateway.context import Gateway

if TYPE_CHECKING:
    from hitl_cli.gateway.options import Options


def background_gateway(options: Options) -> ServingThread:
    """Return a gateway that serves from `start` to `stop`. Raises BadInput if its keys cannot be read."""
    gateway = Gateway(options)
    return ServingThread("gateway", partial(run, gateway), gateway.stop)
