"""Typed requests of the Resonate protocol, and a driver for each kind of server."""
