"""Turns a study into tidy tables: one row per trial, and one row per trial and epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from analysis.studies.parameters import Parameter, from_distributions, present_ranges
from analysis.wording import is_share, named, one_line
from search.storage.collector import collector_paused
from search.storage.expected import Expected, Verdict, expectations_of
from search.storage.requests import Request, requests_of
from search.storage.trials import kept_epoch, num_weights
from spaces.objectives import Direction, Objective
from trainables.trainable import KEPT_EPOCH

COMPLETE, STOPPED, UNFINISHED = "complete", "stopped", "unfinished"
FAILED, INFEASIBLE, WAITING = "failed", "infeasible", "waiting"
STATES = (COMPLETE, STOPPED, UNFINISHED, FAILED, INFEASIBLE, WAITING)
"""complete: trained to the full budget; stopped: ended early on purpose; unfinished: running, paused or interrupted."""

_PREFIX = "params_"
_RECORD = ("train_loss", "loss", "seconds", "images_per_second", "started", "worker", "node", "device")
"""What Rungwise records of each epoch, beside the value."""
_HANDLED = ("epoch", "trial", "value", KEPT_EPOCH)
_VALUES = ("value", "last", "best", "best_epoch", "kept_epoch")
_COLUMNS = ("number", "state", "epochs", *_VALUES, "seconds", "weights", "macs", "seed")
_CAUSE = ("failure_kind", "failure", "started", "ended")
"""Columns of `Trials.trials`: of every trial, and why and when it ended."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A study as tables, with what is needed to read them."""

    trials: pd.DataFrame
    """One row per trial, indexed by its number: state, epochs, last, best, value (full budget only), seconds, ...,
    `rung_E` (the objective after E epochs) and `params_NAME` for each hyperparameter."""
    epochs: pd.DataFrame
    """One row per (trial, epoch): trial, epoch, value, seconds, worker, started, ..."""
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
        """The hyperparameters alone; missing where one is not active."""
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
    def best(self) -> pd.Series | None:
        """The best complete trial, or None."""
        valued = self.complete["value"].dropna()
        number = self.objective.best((int(number), value) for number, value in valued.items())  # pyright: ignore[reportArgumentType]
        return None if number is None else self.complete.loc[number]  # pyright: ignore[reportReturnType]

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
    columns = [name for name in rows.columns if name.startswith(_PREFIX)]
    return rows[columns].rename(columns=lambda name: name[len(_PREFIX) :])


def config_of(row: pd.Series) -> dict[str, Any]:
    """The active hyperparameters of one row of `Trials.trials`."""
    named = {str(k)[len(_PREFIX) :]: v for k, v in row.items() if str(k).startswith(_PREFIX)}
    return {k: v for k, v in named.items() if not pd.isna(v)}


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
    raw = _values(stored)
    full = int(getattr(run, "epochs", 0) or _longest(stored, raw))
    values = [{epoch or full: v for epoch, v in found.items()} for found in raw]
    rungs = tuple(getattr(run, "rungs", ()) or _stops(stored, values, full))
    parameters = from_distributions(stored)
    direction: Direction = "maximize" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "minimize"
    sign = float(Objective(metric="", direction=direction).sign)
    rows = [_trial_row(t, v, full=full, sign=sign) for t, v in zip(stored, values, strict=True)]
    for row, found in zip(rows, values, strict=True):
        row.update({f"rung_{rung}": found.get(rung, math.nan) for rung in rungs})
    columns = [*_COLUMNS, *_CAUSE, *(f"rung_{r}" for r in rungs), *(_PREFIX + p.name for p in parameters)]
    more = _reported(stored)
    epochs = [row for t, v in zip(stored, values, strict=True) for row in _epoch_rows(t, v, more)]
    return Trials(
        trials=_typed(pd.DataFrame(rows, columns=pd.Index(columns)), parameters).set_index("number", drop=False),
        epochs=pd.DataFrame(epochs, columns=pd.Index(["trial", "epoch", "value", *_RECORD, *more])),
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


def _baseline(run: Any, stored: Sequence[FrozenTrial]) -> dict[str, Any]:
    """The baseline of the run, which may have none; the first trial of a study without a run."""
    known = getattr(run, "baseline", None)
    if known is None:
        known = stored[0].params if stored else {}
    return dict(known)


def _values(stored: list[FrozenTrial]) -> list[dict[int, float]]:
    """Finite values by epoch from 1; a final value without any report stands at epoch 0, meaning the full budget."""
    steps = [min(t.intermediate_values) for t in stored if t.intermediate_values]
    shift = 1 if steps and min(steps) <= 0 else 0
    found = []
    for trial in stored:
        if not trial.intermediate_values and trial.state == TrialState.COMPLETE and trial.value is not None:
            found.append({0: trial.value} if math.isfinite(trial.value) else {})
        else:
            found.append({s + shift: v for s, v in sorted(trial.intermediate_values.items()) if math.isfinite(v)})
    return found


def _longest(stored: list[FrozenTrial], values: list[dict[int, float]]) -> int:
    ends = [max(v) for t, v in zip(stored, values, strict=True) if t.state == TrialState.COMPLETE and v]
    return max(ends, default=0) or max((max(v) for v in values if v), default=0) or 1


def _stops(stored: list[FrozenTrial], values: list[dict[int, float]], full: int) -> list[int]:
    """Epochs at which at least one in twenty of the stopped trials ended, then the full budget."""
    ends = pd.Series([max(v) for t, v in zip(stored, values, strict=True) if t.state == TrialState.PRUNED and v])
    common = ends.value_counts(normalize=True)
    return [*sorted(int(end) for end in common.index[common >= 0.05] if 0 < end < full)[:6], full]


def _state(trial: FrozenTrial, epochs: int, full: int) -> str:
    if "infeasible" in trial.user_attrs:
        return INFEASIBLE
    if trial.state == TrialState.COMPLETE:  # COMPLETE below the full budget counts as stopped
        return COMPLETE if epochs >= full else STOPPED
    by_state = {TrialState.RUNNING: UNFINISHED, TrialState.PRUNED: STOPPED, TrialState.WAITING: WAITING}
    return by_state.get(trial.state, FAILED)


def _trial_row(trial: FrozenTrial, values: dict[int, float], *, full: int, sign: float) -> dict[str, Any]:
    epochs = max(values, default=0)
    state = _state(trial, epochs, full)
    best = max(values, key=lambda epoch: sign * values[epoch], default=None)
    start, end = trial.datetime_start, trial.datetime_complete
    seconds = sum(_number(record.get("seconds"), 0.0) for record in _history(trial))
    lasted = max((end - start).total_seconds(), 0.0) if start and end else math.nan  # a clock may go back
    attrs = trial.user_attrs
    cause = attrs.get("infeasible") or attrs.get("failure")
    return {
        "number": trial.number,
        "state": state,
        "epochs": epochs,
        "value": values[epochs] if state == COMPLETE else math.nan,
        "last": values.get(epochs, math.nan),
        "best": math.nan if best is None else values[best],
        "best_epoch": best or 0,
        "kept_epoch": _number(kept_epoch(trial)),
        "seconds": seconds or lasted,
        "weights": _number(num_weights(trial)),
        "macs": _number(attrs.get("macs")),
        "seed": _number(attrs.get("seed")),
        "failure_kind": attrs.get("failure_kind", "error") if state == FAILED else None,
        "failure": one_line(str(cause or "no reason stored")) if state in (FAILED, INFEASIBLE) else None,
        "started": start,
        "ended": end,
        **{_PREFIX + one_line(name): value for name, value in trial.params.items()},
    }


def _reported(stored: list[FrozenTrial]) -> tuple[str, ...]:
    """Names of whatever else the epochs reported, in the order in which they did."""
    names = dict.fromkeys(name for trial in stored for record in _history(trial) for name in record)
    return tuple(one_line(name) for name in names if name not in (*_RECORD, *_HANDLED))


def _epoch_rows(trial: FrozenTrial, values: dict[int, float], more: tuple[str, ...]) -> list[dict[str, Any]]:
    records = {record.get("epoch"): record for record in _history(trial)}
    rows = []
    for epoch, value in values.items():
        record = records.get(epoch, {})
        rows.append(
            {"trial": trial.number, "epoch": epoch, "value": value, **{k: record.get(k) for k in (*_RECORD, *more)}}
        )
    return rows


def _history(trial: FrozenTrial) -> list[dict[str, Any]]:
    stored = trial.user_attrs.get("history")
    return [record for record in stored if isinstance(record, dict)] if isinstance(stored, list) else []


def _number(value: Any, missing: float = math.nan) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else missing


def _typed(table: pd.DataFrame, parameters: tuple[Parameter, ...]) -> pd.DataFrame:
    """Numeric hyperparameters as floats (integers when no trial lacks them), the rest as plain objects."""
    for parameter in parameters:
        column = _PREFIX + parameter.name
        if parameter.numeric:
            table[column] = pd.to_numeric(table[column])
        else:
            table[column] = table[column].astype(object)
    return table
