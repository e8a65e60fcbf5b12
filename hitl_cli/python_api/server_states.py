"""Where an agent's runs keep their states by default: on the server of their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.python_api.backend import Backend


class ServerStates:
    """Keeps the state of each run on the server, for who asks: from any machine, and through a gateway.

    The calls block, and may come from any thread.
    """

    def __init__(self, backend: Backend) -> None:
        """`backend` is where the requests are."""
        self._backend = backend

    def load(self, run: str) -> str | None:
        """Return the state of a run; None if there is none. Raises BadName."""
        return self._backend.kept_state(run)

    def save(self, run: str, state: str) -> None:
        """Keep the state of a run, in place of an earlier one. Raises BadName, TooLarge."""
        self._backend.keep_state(run, state)

    def forget(self, run: str) -> None:
        """End the state of a run, if there is one. Raises BadName."""
        self._backend.forget_state(run)
