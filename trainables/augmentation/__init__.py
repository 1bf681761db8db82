"""Augments and normalises whole batches on the device.

Imports `data`; `training` and what is above it may import it, `models` may not.
"""
