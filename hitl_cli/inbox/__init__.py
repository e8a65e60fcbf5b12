"""What a person does: see what waits, and answer. Every front end calls this.

It speaks the protocol and nothing else, so it works on every server and for requests that other tools
and SDKs made (docs/requests.md).
"""
