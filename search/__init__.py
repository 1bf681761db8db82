"""Launches searches: the only package that knows Ray, and in it only `execution` and `runtime`.

Imports spaces and trainables; analysis and rungwise may import it.
"""
