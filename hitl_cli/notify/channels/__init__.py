"""The channels that a notification is sent through: e-mail, webhook, Slack, Apprise, the console."""
