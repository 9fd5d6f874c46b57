"""`python -m scentrt` is the `scentrt` command."""

from scentrt.entrypoints.cli import main

main()
