"""Trains one network: the loop, its optimiser, loss, metrics and device.

Imports `augmentation`, `models` and below; `supervised` and the packages above may import it.
"""
