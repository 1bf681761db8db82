"""Findings in sentences.

Imports scores, impact and below."""
