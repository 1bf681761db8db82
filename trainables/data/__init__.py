"""Rows in memory: a data set and its splits, a table and its columns.

Imports nothing else of ours; `images`, `sources` and what is above them may import it.
"""
