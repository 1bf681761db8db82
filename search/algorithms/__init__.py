"""Decides which configuration is tried and which paused trial goes on: pure functions of the study.

Imports storage."""
