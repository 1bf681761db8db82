"""Image files: lists them, checks them, and reads their pixels as uint8.

Imports `data` and `files`; `sources` and what is above it may import it.
"""
