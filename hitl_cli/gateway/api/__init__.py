"""`/api/v1`: what people and runs do, for programs (docs/reference/api.md)."""
