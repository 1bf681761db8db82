"""What a free slot does next, and what follows from a finished epoch.

Imports `algorithms` and below; `execution`, `forecast` and what is above them may import it. Knows no Ray.
"""
