"""What a free slot does next, and what follows from a finished epoch.

Starts in `search.py`. Imports `algorithms` and below; `execution`, `forecast` and what is above them may import it.
Does not import Ray.
"""
