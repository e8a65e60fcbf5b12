"""What machines are shown: `--json` of the commands, and the answers of the API. Their names are stable.

Instants are ISO 8601 in UTC, as texts. Each kind of thing has a module, with its Structs and what makes them.
"""
