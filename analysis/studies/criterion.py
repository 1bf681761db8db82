"""How finished trials are ranked before the final evaluation, and the names of the entrants beside the best ones."""

from analysis.wording import named
from search.storage.run import Run

BASELINE, RANDOM = "baseline", "random"
"""Names of entrants: the baseline of the space, and one random configuration of it."""
WINDOW_SHARE = 0.2
"""Share of the epochs, the last ones, over which the metric is averaged."""


def window(epochs: int) -> int:
    """Epochs over which the metric is averaged: the last fifth, at least two where there are two."""
    return min(epochs, max(2, round(WINDOW_SHARE * epochs)))


def explain_criterion(run: Run) -> str:
    """The rule by which contenders are chosen, in one sentence."""
    if run.keep_epoch == "best":
        return (
            f"the validation {named(run.metric)} of the epoch that a trial keeps, on rows that did not choose this"
            f" epoch, among trials that were trained to the full budget of {run.epochs} epochs"
        )
    return (
        f"the mean validation {named(run.metric)} over the last {window(run.epochs)} of {run.epochs} epochs, among "
        f"trials that were trained to the full budget, so that a single lucky epoch does not decide"
    )
