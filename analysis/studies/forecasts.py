"""The forecast of the preview beside what the search then took."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.studies.trials import Trials


def compare(forecast: Mapping[str, Any], trials: Trials) -> pd.DataFrame:
    """One row for each forecast quantity.

    Args:
        forecast: the fields of `search.forecast.forecast.Forecast`, percentiles (5th, 50th, 95th) among them.
        trials: of a search that has run its course; epochs without a time of their own do not count.

    Returns:
        Columns `what`, `forecast`, `low`, `high`, `took`, and `times`, what it took over what was forecast.
    """
    epochs = trials.epochs.dropna(subset=["started", "seconds"]).astype({"started": float, "seconds": float})
    first, last = epochs["started"].min(), (epochs["started"] + epochs["seconds"]).max()
    took = {
        "wall_seconds": ("wall time in minutes, from the first epoch", (last - first) / 60, 60),
        "trial_seconds": ("training time in minutes, sum over all slots", epochs["seconds"].sum() / 60, 60),
        "epochs": ("epochs", float(len(epochs)), 1),
    }
    rows = []
    for name, (what, real, unit) in took.items():
        before = forecast.get("start_seconds", 0.0) if name == "wall_seconds" else 0.0
        low, middle, high = ((value - before) / unit for value in forecast[name])
        rows.append({"what": what, "forecast": middle, "low": low, "high": high, "took": real})
    table = pd.DataFrame(rows)
    table["times"] = table["took"] / table["forecast"].replace(0, np.nan)
    return table.round(2)
