"""`Inbox` and `Runs` at a gateway, for the commands of a person who has signed in there with `hitl login`."""
