"""What the author of a workflow imports, and requests that belong to no workflow."""
