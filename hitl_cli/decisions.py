"""The old path of Rejected (before 0.2), because the SDK stores an exception by the path of its class.

A run that failed in such a version is still read, so this path must stay importable.
"""

from hitl_cli.requests.decision import Rejected

__all__ = ["Rejected"]
