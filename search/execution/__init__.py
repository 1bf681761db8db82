"""A search on Ray Tune: legs of trials on warm workers.

Imports `scheduling` and below; `diagnosis`, `session` and the commands may import it, `forecast` may not.
"""
