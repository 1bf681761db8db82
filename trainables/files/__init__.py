"""Files that are complete or absent: checkpoints and their format, stores, downloads.

Imports `trainable` alone; every other wing may import it.
"""
