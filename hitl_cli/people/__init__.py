"""People and groups: their names, and their contacts."""
