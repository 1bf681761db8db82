"""One use of the search command, from options to exit code.

Imports every other wing of search."""
