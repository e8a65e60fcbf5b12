"""PostgreSQL as the server: resonate-pg's schema and one of hitl's beside it. Only this imports psycopg."""
