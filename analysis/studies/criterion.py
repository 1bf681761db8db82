"""How finished trials are ranked before the final evaluation, and the names of the entrants beside the best ones."""

import re

from analysis.studies.results import FinalResults
from analysis.wording import named, title
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


def untrained(results: FinalResults) -> str:
    """Which configurations ranked before the winner and could not be trained, as a clause; empty where none did."""
    if not results.ahead:
        return ""
    names = " and ".join(title(name) for name in results.ahead)
    place, whose = ("first", "its") if len(results.ahead) == 1 else ("higher", "their")
    return f"{names} ranked {place}, but none of {whose} networks could be trained"


def reason(results: FinalResults) -> str:
    """Why the winner is the winner, as a clause, from what chose it."""
    by = re.split(r"[,:] ", results.criterion)[0]
    if by.startswith(("--pick", "even spacing")):
        chosen = f"it was chosen by {by}"
        return f"{chosen}; {lost}" if (lost := untrained(results)) else chosen
    ranked = f"no other trial ranked higher by {by}" if by else "no other trial ranked higher in the search"
    return untrained(results) or ranked
