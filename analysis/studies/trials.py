"""Turns a study into tidy tables: one row per trial, and one row per trial and epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from analysis.studies.parameters import Parameter, from_distributions, from_table, present_ranges
from analysis.studies.rows import (
    COLUMNS,
    COMPLETE,
    PREFIX,
    RECORD,
    STOPPED,
    UNFINISHED,
    common_stops,
    epoch_rows,
    finite_values,
    longest,
    reported_names,
    trial_row,
    with_repeats,
)
from analysis.wording import is_share, named
from search.storage.collector import collector_paused
from search.storage.expected import Expected, Verdict, expectations_of
from search.storage.requests import Request, requests_of
from search.storage.trials import is_repeat
from spaces.objectives import Direction, Objective


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A study as tables, with what is needed to read them."""

    trials: pd.DataFrame
    """One row per trial, indexed by its number: state, epochs, last, best, value (full budget only), seconds, ...,
    `rung_E` (the objective after E epochs) and `params_NAME` for each hyperparameter. A trial that repeats another one
    has no row: it is one of the `trainings` of that trial, whose value at the full budget is their mean."""
    epochs: pd.DataFrame
    """One row per (trial, epoch), those of repeats included: trial, epoch, value, seconds, worker, started, ..."""
    parameters: tuple[Parameter, ...]
    present: tuple[Parameter, ...] = ()  # those whose ranges were replaced, with their present ranges
    metric: str = "objective"
    direction: Direction = "maximize"
    target_unit: str = ""
    """Of a regression's target, where the data are known."""
    full_epochs: int = 1
    rungs: tuple[int, ...] = (1,)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()
    """What a person asked of the search while it ran, in the order of the answers."""
    expectations: tuple[Verdict | None, Expected | None] = (None, None)
    """Why --until-gain ended the search, and what it last expected of more training."""

    @property
    def objective(self) -> Objective:
        """Metric and direction of the search."""
        return Objective(metric=self.metric, direction=self.direction)

    @property
    def sign(self) -> float:
        """1 when larger is better, -1 when smaller is better."""
        return float(self.objective.sign)

    @property
    def points(self) -> float:
        """100 for metrics in 0..1, whose differences are in percentage points, else 1."""
        if not is_share(self.metric):
            return 1.0
        values = self.epochs["value"]
        return 100.0 if values.empty or values.between(0, 1).all() else 1.0  # some report a share in percent

    @property
    def unit(self) -> str:
        """The unit of a difference, with a leading blank, ready to follow a number."""
        return " points" if self.points == 100 else f" {named(self.metric, self.target_unit)}"

    @property
    def params(self) -> pd.DataFrame:
        """The hyperparameters alone; missing where one is not active, and `NONE` where the choice is None."""
        return params_of(self.trials)

    @property
    def measured(self) -> pd.DataFrame:
        """Trials with at least one finite value that count for the analysis: complete, stopped and unfinished."""
        return self.trials[self.trials["state"].isin([COMPLETE, STOPPED, UNFINISHED]) & (self.trials["epochs"] > 0)]

    def measured_at(self, rung: int) -> pd.DataFrame:
        """The measured trials that have a value at this rung."""
        rows = self.measured
        return rows[rows[f"rung_{rung}"].notna()]

    @property
    def complete(self) -> pd.DataFrame:
        """Trials that were trained to the full budget; they alone compete for best."""
        return self.trials[self.trials["state"] == COMPLETE]

    @property
    def ranked(self) -> pd.DataFrame:
        """The complete trials, the best first, of equal ones the older; those of which a repeat failed come last."""
        rows = self.complete
        keys = {"fails": rows["fails_again"].astype(bool), "cost": -self.sign * rows["value"].astype(float)}
        return rows.loc[pd.DataFrame(keys).sort_index().sort_values(["fails", "cost"], kind="stable").index]

    @property
    def rivals(self) -> pd.DataFrame:
        """Of the ranked trials those of which no repeat failed, as the best; all of them where each has failed."""
        ranked = self.ranked
        fails = ranked["fails_again"].astype(bool)
        return ranked if fails.all() else ranked[~fails]

    @property
    def best(self) -> pd.Series | None:
        """The best complete trial, or None; one of which a repeat failed only if there is no other."""
        ranked = self.ranked
        return None if ranked.empty else ranked.iloc[0]

    @property
    def best_config(self) -> dict[str, Any]:
        """The hyperparameters of the best complete trial, integers as such; empty without one."""
        if self.best is None:
            return {}
        integers = {parameter.name for parameter in self.parameters if parameter.kind == "integer"}
        return {name: int(value) if name in integers else value for name, value in config_of(self.best).items()}

    @property
    def keeps_best(self) -> bool:
        """Whether trials keep their best epoch, so that values are those of the epoch kept so far."""
        return bool(self.trials["kept_epoch"].notna().any())

    @property
    def baseline_trial(self) -> pd.Series | None:
        """The complete trial of the baseline, or None."""
        rows = (row for _, row in self.complete.iterrows() if self.baseline and config_of(row) == self.baseline)
        return next(rows, None)


def params_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The hyperparameters of these rows of `Trials.trials`, under their own names."""
    columns = [name for name in rows.columns if name.startswith(PREFIX)]
    return rows[columns].rename(columns=lambda name: name[len(PREFIX) :])


def config_of(row: pd.Series) -> dict[str, Any]:
    """The active hyperparameters of one row of `Trials.trials`."""
    named = {str(k)[len(PREFIX) :]: v for k, v in row.items() if str(k).startswith(PREFIX)}
    return {k: from_table(v) for k, v in named.items() if not pd.isna(v)}


def rung_values(rows: pd.DataFrame, rungs: Sequence[int], *, at_least: int) -> pd.DataFrame:
    """The objective of these rows of `Trials.trials` at each rung that enough of them reached, and at the first.

    Returns:
        (N, rungs), NaN where a trial was not measured; columns are the rungs' epochs.
    """
    first, *later = rungs
    kept = [first, *(rung for rung in later if rows[f"rung_{rung}"].notna().sum() >= at_least)]
    return rows[[f"rung_{rung}" for rung in kept]].set_axis(kept, axis=1).astype(float)


def read_trials(study: optuna.Study, run: Any = None) -> Trials:
    """The study's tables.

    Args:
        study: any single-objective study, also one that plain Optuna wrote.
        run: what was asked (search.storage.study.Run), or None: budget and rungs are then read off the trials.

    Raises:
        ValueError: the study has several objectives.
    """
    if len(study.directions) != 1:
        raise ValueError(f"the study must have one objective, got {len(study.directions)}; analyse one at a time")
    with collector_paused():
        stored = study.get_trials(deepcopy=False)
    raw = finite_values(stored)
    full = int(getattr(run, "epochs", 0) or longest(stored, raw))
    values = [{epoch or full: v for epoch, v in found.items()} for found in raw]
    rungs = tuple(getattr(run, "rungs", ()) or common_stops(stored, values, full))
    parameters = from_distributions(stored)
    direction: Direction = "maximize" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "minimize"
    sign, of_several = float(Objective(metric="", direction=direction).sign), with_repeats(stored, direction, full=full)
    rows = [
        trial_row(trial, found, full=full, sign=sign, rungs=rungs) | of_several.get(trial.number, {})
        for trial, found in zip(stored, values, strict=True)
        if not is_repeat(trial)
    ]
    columns = [*COLUMNS, *(f"rung_{r}" for r in rungs), *(PREFIX + p.name for p in parameters)]
    return Trials(
        trials=_typed(pd.DataFrame(rows, columns=pd.Index(columns)), parameters).set_index("number", drop=False),
        epochs=_epochs(stored, values),
        parameters=parameters,
        present=present_ranges(run, parameters),
        metric=str(getattr(run, "metric", None) or (study.metric_names or ["objective"])[0]),
        direction=direction,
        full_epochs=full,
        rungs=rungs,
        baseline=_baseline(run, stored),
        requests=tuple(requests_of(study)),
        expectations=expectations_of(study),
    )


def _epochs(stored: list[FrozenTrial], values: list[dict[int, float]]) -> pd.DataFrame:
    more = reported_names(stored)
    rows = [row for trial, found in zip(stored, values, strict=True) for row in epoch_rows(trial, found, more)]
    return pd.DataFrame(rows, columns=pd.Index(["trial", "epoch", "value", *RECORD, *more]))


def _baseline(run: Any, stored: Sequence[FrozenTrial]) -> dict[str, Any]:
    """The baseline of the run, which may have none; the first trial of a study without a run."""
    known = getattr(run, "baseline", None)
    if known is None:
        known = stored[0].params if stored else {}
    return dict(known)


def _typed(table: pd.DataFrame, parameters: tuple[Parameter, ...]) -> pd.DataFrame:
    """Numeric hyperparameters as floats (integers when no trial lacks them), the rest as plain objects."""
    for parameter in parameters:
        column = PREFIX + parameter.name
        if parameter.numeric:
            table[column] = pd.to_numeric(table[column])
        else:
            table[column] = table[column].astype(object)
    return table
