"""Which hyperparameters matter, and how sure that is.

Imports `statistics` and below; `model`, `plots`, `prose` and what is above them may import it, `scores` may not.
"""
