"""hitl's own server types, one module each. They are entry points of `hitl.servers`, by URL scheme."""
