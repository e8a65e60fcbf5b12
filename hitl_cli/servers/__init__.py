"""The kinds of servers that hitl ships, a module each: entry points of `hitl.servers`, by URL scheme."""
