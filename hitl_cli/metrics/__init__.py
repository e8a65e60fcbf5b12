"""Metrics for Prometheus, and the address that serves them: docs/reference/metrics.md.

Each process has a registry of its own, never the library's global one. No label contains the name of a person
or a request, and each has few values.
"""
