"""Studies as tidy tables, their parameters, final.json, and the log of openings of the test set.

Imports `wording` and `progress` alone; any wing above may import it, `datasets` may not.
"""
