"""The engine over HTTP: requests, message streams, posted messages, tokens and metrics."""
