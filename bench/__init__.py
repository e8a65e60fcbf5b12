"""Benchmarks; none of them is a test.

`python -m bench` measures hitl beside its peers: `table` says which rounds are run and prints them,
`rounds` runs one, `process` is a process of a peer, `peer` says what a peer must do, `peers/` has each.
`python -m bench.inprocess` is for one who tunes the engine, `python -m bench.commands` times commands.
"""
