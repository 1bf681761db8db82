"""The course of a search: the best value so far against the epochs and the training time that it took."""

import numpy as np
import pandas as pd

from analysis.studies.trials import Trials


def course(trials: Trials) -> pd.DataFrame:
    """epochs and seconds, both summed over all trainings, and best: the best complete value by then.

    A trial that was trained again counts from the end of its first training with the mean of all, so that a lucky value
    that later ones take back was never reached. One row per epoch, in the order in which the epochs ended; in the order
    of the trials where that is not known.
    """
    rows = trials.epochs
    ended = rows["started"].astype(float) + rows["seconds"].astype(float)
    if ended.notna().all():
        rows = rows.iloc[np.argsort(ended.to_numpy(), kind="stable")]
    last = ~rows["trial"].duplicated(keep="last")
    value = rows["trial"].map(trials.rivals["value"]).where(last).astype(float) * trials.sign
    return pd.DataFrame(
        {
            "epochs": np.arange(1, len(rows) + 1),
            "seconds": rows["seconds"].astype(float).fillna(0.0).cumsum().to_numpy(),
            "best": (value.cummax().ffill() * trials.sign).to_numpy(),
        }
    )


def reached(table: pd.DataFrame, value: float, *, sign: float) -> tuple[int, float] | None:
    """Epochs and seconds after which the best was at least as good as `value`; None if it never was.

    Args:
        table: of `course`.
        sign: 1 when larger is better, -1 when smaller is better.
    """
    there = table[(table["best"] * sign) >= value * sign]
    return None if there.empty else (int(there["epochs"].iloc[0]), float(there["seconds"].iloc[0]))
