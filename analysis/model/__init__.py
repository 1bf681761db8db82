"""The winner as a model to use: written, loaded, and its answers for new rows.

Imports `scores`, `impact` and below; `pages`, `evaluation` and the commands may import it.
"""
