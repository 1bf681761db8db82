"""Trains one network: the loop, its optimiser, loss, metrics and device.

Imports augmentation, models and data."""
