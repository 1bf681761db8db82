"""One use of the search command, from options to exit code.

Imports every other wing of search; only commands, analysis and rungwise import it.
"""
