"""How good predictions are: metrics with intervals, comparisons, methods without a network.

Imports `statistics` and below; `model`, `plots`, `prose` and what is above them may import it, `impact` may not.
"""
