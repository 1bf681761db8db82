"""Statistics on arrays: bootstrap, design matrices, projection.

Imports `studies`, `datasets` and below; `scores`, `impact` and what is above them may import it.
"""
