"""What `search.doctor` checks: the machine, a cluster, the data, and training code of the user's own.

Imports `execution`, `forecast` and below; `session` and the commands may import it.
"""
