"""What the author of a workflow imports: `workflow`, `ask` and their types."""
