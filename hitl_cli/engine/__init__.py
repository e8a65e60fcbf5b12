"""An embedded Resonate server: the protocol over one SQLite file that many processes share.

It knows the protocol (version 2026-04-01) and nothing of people or of this command line.
`records` is what travels, `machine` the rules, `store` the file, `server` a request's way
through them, `doorbell` how processes hear of each other, `network` the SDK's connection.
"""
