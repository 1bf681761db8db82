"""Bytes that are there whole or not at all: stores, checkpoints, downloads.

Imports nothing else of ours."""
