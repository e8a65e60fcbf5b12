"""An embedded Resonate server: the protocol over one SQLite file that many processes share.

It knows the protocol (version 2026-04-01), and nothing of assignees or of this command line. `records`
is what travels, `machine` the rules, `store` the file, `server` decides a batch of requests, `commit_loop`
says when, `doorbell` wakes other processes, and `http` serves the file on a port.
"""
