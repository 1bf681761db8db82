"""`python -m rungwise` is the command `rungwise`."""

from rungwise.cli import main

main()
