"""A search on Ray Tune: legs of trials, trained by workers that are reused, one for each trial or several.

Imports `scheduling` and below; `diagnosis`, `session` and the commands may import it, `forecast` may not.
"""
