"""One use of the search command, from its options to its exit code; Ctrl-C ends here.

Imports every other wing of search; only commands, analysis and rungwise import it.
"""
