"""People and groups: who they are, and how they are reached."""
