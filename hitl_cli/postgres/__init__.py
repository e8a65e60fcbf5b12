"""PostgreSQL as the server: resonate-pg's schema, and hitl's own. Only this package imports psycopg."""

VERSION = 2
"""The number of the last script of the schema; a script that was released is never changed."""
