"""`python -m hitl_cli`."""

from hitl_cli.cli import main

main()
