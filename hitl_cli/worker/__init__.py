"""A process that runs workflows."""
