"""Scores of predictions: metrics with intervals, comparisons, classical methods as baselines.

Imports `statistics` and below; `model`, `plots`, `prose` and what is above them may import it, `impact` may not.
"""
