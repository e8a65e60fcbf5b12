"""The channels for notifications: e-mail, webhook, Slack, Apprise, the console."""
