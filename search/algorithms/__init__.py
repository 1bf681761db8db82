"""Decides which configuration is tried and which paused trial goes on: pure functions of the study.

Imports `storage` and below; `scheduling` and what is above it may import it. Knows no Ray.
"""
