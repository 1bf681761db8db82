"""The rows of the tables of a study: one of each trial, and one of each trial and epoch."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from analysis.studies.parameters import in_table
from analysis.wording import one_line
from search.storage.standings import Standings
from search.storage.trials import is_finished, kept_epoch, num_weights
from spaces.objectives import Direction, Objective
from trainables.trainable import KEPT_EPOCH

COMPLETE, STOPPED, UNFINISHED = "complete", "stopped", "unfinished"
FAILED, INFEASIBLE, WAITING = "failed", "infeasible", "waiting"
STATES = (COMPLETE, STOPPED, UNFINISHED, FAILED, INFEASIBLE, WAITING)
"""complete: trained to the full budget, or added as complete by another program; stopped: ended early on purpose;
unfinished: running, paused or interrupted."""

PREFIX = "params_"
RECORD = ("train_loss", "loss", "seconds", "images_per_second", "started", "worker", "node", "device")
"""What Rungwise records of each epoch, beside the value."""
_HANDLED = ("epoch", "trial", "value", KEPT_EPOCH)
_VALUES = ("value", "trainings", "fails_again", "last", "best", "best_epoch", "kept_epoch")
_FACTS = ("number", "state", "epochs", *_VALUES, "seconds", "weights", "macs", "seed")
COLUMNS = (*_FACTS, "failure_kind", "failure", "started", "ended")
"""Columns of `Trials.trials`, before those of the rungs and of the hyperparameters."""


def finite_values(stored: list[FrozenTrial]) -> list[dict[int, float]]:
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


def longest(stored: list[FrozenTrial], values: list[dict[int, float]]) -> int:
    """The full budget: the most epochs of a complete trial, or of any if none is complete."""
    ends = [max(v) for t, v in zip(stored, values, strict=True) if t.state == TrialState.COMPLETE and v]
    return max(ends, default=0) or max((max(v) for v in values if v), default=0) or 1


def common_stops(stored: list[FrozenTrial], values: list[dict[int, float]], full: int) -> list[int]:
    """Epochs at which at least one in twenty of the stopped trials ended, then the full budget."""
    ends = pd.Series([max(v) for t, v in zip(stored, values, strict=True) if t.state == TrialState.PRUNED and v])
    common = ends.value_counts(normalize=True)
    return [*sorted(int(end) for end in common.index[common >= 0.05] if 0 < end < full)[:6], full]


def _state(trial: FrozenTrial) -> str:
    if "infeasible" in trial.user_attrs:
        return INFEASIBLE
    if is_finished(trial):
        return COMPLETE
    by_state = {TrialState.RUNNING: UNFINISHED, TrialState.WAITING: WAITING, TrialState.FAIL: FAILED}
    return by_state.get(trial.state, STOPPED)


def trial_row(
    trial: FrozenTrial, values: dict[int, float], *, full: int, sign: float, rungs: Sequence[int]
) -> dict[str, Any]:
    """What is known of a trial.

    Args:
        values: finite ones by epoch.
        full: epochs of the full budget.
        sign: 1 when larger is better, -1 when smaller is better.
    """
    epochs, state = max(values, default=0), _state(trial)
    best = max(values, key=lambda epoch: sign * values[epoch], default=None)
    start, end = trial.datetime_start, trial.datetime_complete
    seconds = sum(_number(record.get("seconds"), 0.0) for record in _history(trial))
    lasted = max((end - start).total_seconds(), 0.0) if start and end else math.nan  # a clock may go back
    attrs = trial.user_attrs
    cause = attrs.get("infeasible") or attrs.get("failure")
    return {
        "number": trial.number,
        "trainings": int(state == COMPLETE),
        "fails_again": False,
        "state": state,
        "epochs": epochs,
        "value": trial.value if state == COMPLETE else math.nan,
        "last": trial.value if state == COMPLETE else values.get(epochs, math.nan),
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
        **{f"rung_{rung}": values.get(rung, math.nan) for rung in rungs},
        **({f"rung_{full}": trial.value} if state == COMPLETE else {}),
        **{PREFIX + one_line(name): in_table(value) for name, value in trial.params.items()},
    }


def with_repeats(stored: Sequence[FrozenTrial], direction: Direction, *, full: int) -> dict[int, dict[str, Any]]:
    """What differs in the row of a trial that was repeated, by its number.

    Args:
        full: epochs of the full budget.
    """
    standings = Standings(Objective(metric="", direction=direction), stored).all
    return {
        one.trial.number: {
            **(dict.fromkeys(("value", "last", f"rung_{full}"), one.value) if one.again else {}),
            "trainings": len(one.trials),
            "fails_again": bool(one.failed),
        }
        for one in standings
        if one.again or one.failed
    }


def reported_names(stored: list[FrozenTrial]) -> tuple[str, ...]:
    """Names of whatever else the epochs reported, in the order in which they did."""
    names = dict.fromkeys(name for trial in stored for record in _history(trial) for name in record)
    return tuple(one_line(name) for name in names if name not in (*RECORD, *_HANDLED))


def epoch_rows(trial: FrozenTrial, values: dict[int, float], more: tuple[str, ...]) -> list[dict[str, Any]]:
    """What each epoch of a trial reported.

    Args:
        more: names beside those of Rungwise.
    """
    records = {record.get("epoch"): record for record in _history(trial)}
    rows = []
    for epoch, value in values.items():
        record = records.get(epoch, {})
        rows.append(
            {"trial": trial.number, "epoch": epoch, "value": value, **{k: record.get(k) for k in (*RECORD, *more)}}
        )
    return rows


def _history(trial: FrozenTrial) -> list[dict[str, Any]]:
    stored = trial.user_attrs.get("history")
    return [record for record in stored if isinstance(record, dict)] if isinstance(stored, list) else []


def _number(value: Any, missing: float = math.nan) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else missing
