"""Bytes that are there whole or not at all: files, stores, checkpoints, downloads.

Imports `trainable` alone; every other wing may import it.
"""
