"""The protocol's requests, typed, for any server; a driver for each kind of server."""
