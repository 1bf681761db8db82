"""How long a search will take: the real rules on a simulated clock.

Imports scheduling and below."""
