"""Notifications: by e-mail, webhook, Slack and others, or on the worker's terminal.

`messages` has the content, `channels` send it. Durable functions (`deliver`) decide what is sent to whom and
when, so that no message is sent twice or forgotten.
"""
