"""Proof of who decided: signed statements, signatures, and their checks (docs/reference/proof.md)."""
