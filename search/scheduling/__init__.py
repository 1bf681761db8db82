"""What a free slot does next, and what follows from a finished epoch. Knows no Ray.

Imports algorithms and storage."""
