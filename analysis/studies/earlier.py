"""What became of the configurations that a search took from earlier ones with `--from`."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.studies.trials import Trials, config_of
from search.storage.earlier import TAG, Earlier
from search.storage.run import Run


def carried_over(trials: Trials, run: Run) -> pd.DataFrame:
    """A row for each earlier search: how many of its configurations were trained, and their best place."""
    return pd.DataFrame([_row(trials, run, earlier) for earlier in run.earlier])


def _row(trials: Trials, run: Run, earlier: Earlier) -> dict[str, Any]:
    rank, found = _places(trials), _planned(trials, run, earlier)
    places = [rank[number] for number in found if number in rank]
    return {
        "earlier search": earlier.name,
        "its trials": earlier.num_trials,
        "possible here": earlier.num_here,
        "trained first": len(found),
        "best place of these": f"{min(places)} of {len(rank)}" if places else "",
    }


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
    known = [one.params for one in earlier.best]
    planned = [one.params for one in run.plan if one.tag.startswith(TAG) and one.params in known]
    return [number for number in trials.trials.index if config_of(trials.trials.loc[number]) in planned]
