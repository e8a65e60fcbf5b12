"""The command line: `hitl`."""

from hitl_cli.cli.app import main

__all__ = ["main"]
