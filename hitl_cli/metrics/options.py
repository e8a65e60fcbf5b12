"""Options of the metrics: `--metrics`, and `[metrics]` of the settings."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct

from hitl_cli.engine.http.hosts import is_loopback
from hitl_cli.errors import BadUsage
from hitl_cli.settings import MetricsSettings

PORT_MAX = 65_535

OTHER = "other"
"""The value of a label for everything that is not shown by its own name."""

NONE = "(none)"
"""The value of a label for requests without a workflow, and the like."""

LONGEST = 200
"""Characters of a value: who starts runs names their workflows, and a name is in many lines."""


class MetricsOptions(Struct, frozen=True, kw_only=True):
    """Where to serve metrics. A `token` is required of readers, if there is one."""

    host: str
    port: int
    settings: MetricsSettings

    @property
    def shown(self) -> str:
        """The address as text."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def metrics_options(address: str, settings: MetricsSettings) -> MetricsOptions:
    """Return the options for an address, `[HOST:]PORT`. Raises BadUsage.

    Any address but one of this machine needs a token, as everything that listens does.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise BadUsage(f"--metrics {address!r} is not an address: give [HOST:]PORT, such as 9464.")
    if settings.token is None and not is_loopback(host):
        raise BadUsage(
            f"--metrics {address}: other machines can read that address, which requires a token: set token"
            " in [metrics] of hitl.toml, and give it to Prometheus as authorization."
        )
    return MetricsOptions(host=host, port=int(port), settings=settings)


class Label:
    """A limit on the number of values of one label, so that clients cannot create more.

    A value is shown under its own name if it matches one of the `globs`, is among the first `most`, and is
    neither too long nor unprintable.
    """

    def __init__(self, globs: tuple[str, ...], most: int) -> None:
        self._globs = globs
        self._most = most
        self._known: dict[str, str] = {}
        self._named = 0

    def __call__(self, value: str | None) -> str:
        """Return the value to show."""
        if value is None:
            return NONE
        shown = self._known.get(value)
        if shown is None:
            plain = len(value) <= LONGEST and value.isprintable()
            own = plain and self._named < self._most and any(fnmatchcase(value, glob) for glob in self._globs)
            if not own:
                return OTHER
            self._named += 1
            shown = self._known[value] = value
        return shown
