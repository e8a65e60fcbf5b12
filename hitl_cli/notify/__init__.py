"""How a person learns of a request: by e-mail, webhook, Slack and others, or on the worker's terminal.

`messages` is what is said, `channels` how it is sent. What is sent, to whom and when is decided by durable
functions (`deliver`), so that nothing is sent twice or forgotten.
"""
