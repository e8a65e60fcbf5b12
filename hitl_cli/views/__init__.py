"""JSON for `--json` of the commands and for the API. The names of fields are stable.

Instants are ISO 8601 in UTC, as texts. Each kind of document has a module, with its Structs and the functions
that make them.
"""
