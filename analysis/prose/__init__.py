"""Findings in sentences: discussion, conclusion, model card.

Imports `scores`, `impact` and below; `pages`, `evaluation` and the commands may import it.
"""
