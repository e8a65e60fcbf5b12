"""Runs of workflows: start, list, show, wait and cancel (`Runs`); start by the clock (`Schedules`)."""

from hitl_cli.runs.runs import Runs
from hitl_cli.runs.schedules import Schedules

__all__ = ["Runs", "Schedules"]
