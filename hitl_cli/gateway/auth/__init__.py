"""Who sends a request to the gateway: sessions, API tokens, an authenticating proxy."""
