"""A warning about a search that has not ended: an unfinished trial that is ahead of the best one."""

from analysis.studies.amounts import value_text
from analysis.studies.expectations import ended_by_rule
from analysis.studies.rows import UNFINISHED
from analysis.studies.trials import Trials


def ahead(trials: Trials) -> str:
    """The unfinished trial that is ahead of the best complete one at the same epoch, in a sentence; empty if none is.

    Only trials with half of a full training count, because earlier values say little about the last one. Of several,
    it names the one that has been trained the longest.
    """
    best, unfinished = trials.best, trials.trials[trials.trials["state"] == UNFINISHED]
    if best is None or unfinished.empty:
        return ""
    curve = trials.epochs[trials.epochs["trial"] == best["number"]].set_index("epoch")["value"]
    rows = unfinished[2 * unfinished["epochs"] >= trials.full_epochs]
    rows = rows[rows["epochs"].isin(curve.index)]
    reached = rows["epochs"].map(curve).astype(float)
    leading = rows[trials.sign * (rows["last"] - reached) > 0].sort_values("epochs", kind="stable")
    if leading.empty:
        return ""
    row = leading.iloc[-1]
    here, there = (value_text(trials, float(value)) for value in (row["last"], curve[row["epochs"]]))
    has_ended = ended_by_rule(trials) is not None
    why, how = ("ended early", "--resume --until-gain 0") if has_ended else ("has not ended", "--resume")
    return (
        f"The search {why}: trial {row['number']} was at {here} after {row['epochs']} of {trials.full_epochs}"
        f" epochs, where the best trial, {best['number']}, was at {there}. Continue with {how} before you choose."
    )
