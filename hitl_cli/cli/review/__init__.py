"""`hitl review`: pending requests one at a time, with single-key shortcuts."""
