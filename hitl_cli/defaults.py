"""Default values."""

from __future__ import annotations

WORKFLOW = "approval"
GROUP = "default"
GATEWAY_PORT = 5001
DEADLINE_MS = 365 * 86_400_000
"""The lifetime of a run and its requests. People go on leave; the default of the SDK is one day."""
SESSION_MS = 12 * 3_600_000
"""The longest session of a browser at a gateway."""
