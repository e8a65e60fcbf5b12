"""Authentication at the gateway: sessions, API tokens, an authenticating proxy."""
