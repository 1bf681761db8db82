"""How good predictions are: metrics with intervals, comparisons, baselines.

Imports statistics and below."""
