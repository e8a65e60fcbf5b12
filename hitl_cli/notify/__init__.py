"""Notifications: by e-mail, webhook, Slack and others, or on the worker's terminal.

`messages` has the content, `channels` sends it. Durable functions (`deliver`) decide what is sent to whom and
when, so that nothing is sent twice or forgotten.
"""
