"""Moves the clock of a Python process by CLOCK_AHEAD_MS. Python imports this file from PYTHONPATH at start.

With it a recording is opened at the time at which it was made: its links, sessions and deadlines stay valid.
"""

from __future__ import annotations

import os
import time

AHEAD_NS = int(os.environ.get("CLOCK_AHEAD_MS", "0")) * 1_000_000

_time_ns = time.time_ns

time.time_ns = lambda: _time_ns() + AHEAD_NS
time.time = lambda: time.time_ns() / 1e9
