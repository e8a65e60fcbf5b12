"""What the author of a workflow imports: `workflow`, `ask` and what belongs to them."""
