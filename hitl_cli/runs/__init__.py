"""Runs of workflows: start, list, show, wait and cancel (`Runs`), or start on a schedule (`Schedules`)."""

from hitl_cli.runs.runs import Runs
from hitl_cli.runs.schedules import Schedules

__all__ = ["Runs", "Schedules"]
