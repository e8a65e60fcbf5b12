"""The content of requests and decisions. No I/O."""
