"""Coding agents and frameworks that ask people through hitl."""
