"""Canonical JSON (RFC 8785): equal values have equal bytes, whatever wrote them."""

from __future__ import annotations

import math
from typing import Any


def canonical(value: Any) -> bytes:
    """Return a JSON value in its canonical form.

    Raises ValueError for a value that has none: an integer beyond 2**53, infinity, a lone surrogate.
    """
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def json_digest(value: Any) -> str:
    """Return the SHA-256 of the canonical form of a JSON value, in hex. Raises ValueError."""
    import hashlib

    return hashlib.sha256(canonical(value)).hexdigest()


def check_finite(value: Any) -> None:
    """Raise ValueError for NaN or infinity, which JSON does not have; msgspec would write null."""
    import msgspec

    ahead = [msgspec.to_builtins(value, str_keys=True)]
    while ahead:
        one = ahead.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{one} is not a JSON number")
        if isinstance(one, dict | list):
            ahead += one.values() if isinstance(one, dict) else one
