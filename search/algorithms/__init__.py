"""Decides which configuration is tried and which paused trial continues, by the study and the seeds alone.

A new sampler is one file here; see CONTRIBUTING.md. Imports `storage` and below; `scheduling` and what is above it may
import it. Does not import Ray.
"""
