"""The worker: a process that runs workflows."""
