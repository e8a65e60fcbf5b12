"""All benchmarks: python -m bench."""

from bench import commands, latency, throughput

throughput.main()
latency.main()
commands.main()
