"""What holds where nobody says otherwise."""

from __future__ import annotations

WORKFLOW = "approval"
GROUP = "default"
GATEWAY_PORT = 5001
DEADLINE_MS = 365 * 86_400_000
"""How long a run and what it asks live. People go on leave; the SDK's own default is a day."""
