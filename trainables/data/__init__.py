"""Rows in memory: a data set and its splits, a table and its columns.

Imports nothing else of ours."""
