"""Launches searches: the only package that knows Ray."""
