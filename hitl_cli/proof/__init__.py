"""Proof of who decided: what is signed, SSH signatures, and their checks (docs/reference/proof.md)."""
