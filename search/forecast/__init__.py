"""How long a search will take: the real rules on a simulated clock.

Imports `scheduling` and below; `diagnosis`, `session` and the commands may import it, `execution` may not.
"""
