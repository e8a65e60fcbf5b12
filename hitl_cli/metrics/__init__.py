"""Metrics for Prometheus, and the address that serves them: docs/reference/metrics.md.

Each process has a registry of its own, never the library's global one. No label has the name of a person or
of a request, and each has few values.
"""
