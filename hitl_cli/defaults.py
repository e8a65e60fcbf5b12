"""Default values."""

from __future__ import annotations

WORKFLOW = "approval"
GROUP = "default"
GATEWAY_PORT = 5001
DEADLINE_MS = 365 * 86_400_000
"""The lifetime of a run and its requests. People go on leave; the default of the SDK is one day."""
