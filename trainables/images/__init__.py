"""Image files: which there are, what they hold, and their pixels as uint8.

Imports `data` and `files`; `sources` and what is above it may import it.
"""
