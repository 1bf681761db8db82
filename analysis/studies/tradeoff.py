"""The finished trials of a search with two objectives as a table, with the front among them."""

from collections.abc import Sequence

import pandas as pd
from optuna.trial import FrozenTrial

from analysis.studies.trials import Trials, config_of
from search.algorithms.front import front_trials
from search.storage.run import Run
from search.storage.trials import epochs_reached, is_finished, second_value


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
        if is_finished(t)
    ]
    table = pd.DataFrame(rows, columns=pd.Index(["number", "value", "second", "front", "baseline"]))
    table = table.astype({"value": float, "second": float}).dropna()
    return table.sort_values(["value", "number"], ascending=[not run.objective.maximize, True], ignore_index=True)


def front_rows(trials: Trials, front: pd.DataFrame, second: str) -> pd.DataFrame:
    """The trials of a front with both objectives and their hyperparameters, a row each.

    Args:
        trials: the study.
        front: rows of `tradeoff`.
        second: name of the second objective.
    """
    rows = [
        {"trial": int(row["number"]), trials.metric: row["value"], second: row["second"]}
        | config_of(trials.trials.loc[row["number"]])
        for _, row in front.iterrows()
    ]
    return pd.DataFrame(rows)


def with_second(table: pd.DataFrame, run: Run, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """`Trials.trials` with the second objective at the last epoch of each trial, and `on_front`, behind `last`.

    The column is called as the objective is, or `second_NAME` where another column has that name. Weights and
    multiply-adds have theirs already. Without a second objective the table is as it was.
    """
    if run.second is None:
        return table
    second, place = run.second, list(table.columns).index("last") + 1
    front = {trial.number for trial in front_trials(run, trials)}
    reached = {trial.number: second_value(trial, second, epochs_reached(trial)) for trial in trials}
    table = table.copy()
    table.insert(place, "on_front", [number in front for number in table.index])
    if not (second.known and second.name in table.columns):
        name = f"second_{second.name}" if second.name in table.columns else second.name
        values = pd.Series([reached[int(number)] for number in table.index], index=table.index, dtype=float)
        table.insert(place, name, values)
    return table
