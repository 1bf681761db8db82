"""What the data of a run look like: columns, gaps, classes, copies.

Imports `wording` and `progress` alone; any wing above may import it, `studies` may not.
"""
