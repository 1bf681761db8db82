"""What a search took from earlier ones with `--from`, and whether it agreed with what this search found."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.studies.trials import Trials, config_of
from search.algorithms.earlier import EarlierModel
from search.storage.earlier import TAG, Earlier
from search.storage.run import Run

LEAST_COMPARED = 5
"""Trials at a rung from which on a rank correlation is given."""


def agreement(trials: Trials, run: Run) -> pd.DataFrame:
    """A row for each earlier search: what was taken, how well it predicted, and what became of its configurations.

    The rank correlation is that of the score that the earlier search predicts for the first rung, or for the full
    budget, with the value of each trial there, signed so that larger is better.
    """
    return pd.DataFrame([_row(trials, run, earlier) for earlier in run.earlier])


def _row(trials: Trials, run: Run, earlier: Earlier) -> dict[str, Any]:
    rank, found = _places(trials), _planned(trials, run, earlier)
    places = [rank[number] for number in found if number in rank]
    return {
        "earlier search": earlier.name,
        "trials taken": f"{len(earlier.trials)} of {earlier.num_trials}",
        "rank correlation, first rung": _agreement(trials, run, earlier, epoch=run.rungs[0]),
        "rank correlation, full budget": _agreement(trials, run, earlier, epoch=run.epochs),
        "its configurations trained first": len(found),
        "best place of these": f"{min(places)} of {len(rank)}" if places else "",
    }


def _agreement(trials: Trials, run: Run, earlier: Earlier, *, epoch: int) -> float | None:
    column = f"rung_{epoch}"
    if column not in trials.trials:
        return None
    values = trials.trials[column].dropna().astype(float) * trials.sign
    if len(values) < LEAST_COMPARED:
        return None
    params = [config_of(trials.trials.loc[number]) for number in values.index]
    model = EarlierModel(earlier, maximize=run.objective.maximize, epochs=run.epochs)
    predicted = pd.Series(model.scores(params, pd.Series([epoch] * len(params)).to_numpy()), index=values.index)
    found = predicted.corr(values, method="spearman")
    return None if pd.isna(found) else round(float(found), 2)


def _places(trials: Trials) -> dict[Hashable, int]:
    """Trial -> its place among all that reached the first rung: by the highest rung reached, then the value."""
    reached: dict[Hashable, tuple[int, float]] = {}
    for rung in trials.rungs:
        if f"rung_{rung}" in trials.trials:
            values = trials.trials[f"rung_{rung}"].dropna()
            reached |= {number: (-rung, -trials.sign * value) for number, value in values.items()}
    return {number: place for place, number in enumerate(sorted(reached, key=lambda n: reached[n]), 1)}


def _planned(trials: Trials, run: Run, earlier: Earlier) -> list[Hashable]:
    """The numbers of the trials that were planned with configurations of this earlier search."""
    known = [one.params for one in earlier.trials]
    planned = [one.params for one in run.plan if one.tag.startswith(TAG) and one.params in known]
    return [number for number in trials.trials.index if config_of(trials.trials.loc[number]) in planned]
