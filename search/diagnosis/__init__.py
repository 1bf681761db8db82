"""What `search.doctor` checks: limits of the machine, and training code of the user's own.

Imports `execution`, `forecast` and below; `session` and the commands may import it.
"""
