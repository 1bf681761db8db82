"""The quantile in the name of a pinball loss: 0.9 in `pinball:0.9`. Imports nothing."""

PINBALL = "pinball"


def quantile_in(metric: str) -> float | None:
    """The quantile that a metric is about; None for a metric without one.

    >>> quantile_in("pinball:0.9")
    0.9
    """
    name, _, level = metric.partition(":")
    try:
        return float(level) if name == PINBALL else None
    except ValueError:  # a metric of the user's own, or no quantile is stated
        return None
