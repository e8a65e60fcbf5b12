"""`/api/v1`: the HTTP API for programs (docs/reference/api.md)."""
