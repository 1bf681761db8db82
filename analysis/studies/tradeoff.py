"""The finished trials of a search with two objectives as a table, with the front among them."""

from collections.abc import Sequence

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.front import front_trials
from search.storage.run import Run
from search.storage.trials import epochs_reached, second_value


def tradeoff(run: Run, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """number, value, second, front and baseline of the finished trials, the best by the first objective first.

    Args:
        run: has a second objective.
        trials: all trials of the study.
    """
    assert run.second is not None
    front = {trial.number for trial in front_trials(run, trials)}
    rows = [
        (t.number, t.value, second_value(t, run.second, epochs_reached(t)), t.number in front, t.params == run.baseline)
        for t in trials
        if t.state == TrialState.COMPLETE and t.value is not None
    ]
    table = pd.DataFrame(rows, columns=pd.Index(["number", "value", "second", "front", "baseline"]))
    table = table.astype({"value": float, "second": float}).dropna()
    return table.sort_values(["value", "number"], ascending=[not run.objective.maximize, True], ignore_index=True)
