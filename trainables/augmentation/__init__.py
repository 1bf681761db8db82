"""Whole batches, changed on the device.

Imports data."""
