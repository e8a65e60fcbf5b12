"""The gateway: the inbox and runs over HTTP, as web pages and an API."""
