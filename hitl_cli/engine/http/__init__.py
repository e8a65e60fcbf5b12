"""The engine over HTTP: requests, streams of messages, messages that are posted, tokens, metrics."""
