"""Facts of a stored trial."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from search.storage.earlier import TAG
from spaces.second import LATENCY, Second, measures_latency
from trainables.trainable import KEPT_EPOCH

if TYPE_CHECKING:
    from search.storage.run import Run

INFEASIBLE = "infeasible"
"""User attribute of a configuration that exceeds a bound: which one, in words. It is stored and never trained."""

STOP_EPOCH = "stop_epoch"
"""User attribute of a trial that ends before the full budget, as its plan says: its last epoch."""

REPEATS = "rungwise_repeats"
"""User attribute of a trial that trains the configuration of another one again, on another seed: the number of that
trial."""

WORKERS = "rungwise_workers"
"""User attribute of a trial whose configuration decides how many workers train it (`Space(workers=...)`)."""

ENQUEUED = "rungwise:enqueued"
"""System attribute of a trial that another program enqueued: true from when this search began it."""

UNTRAINABLE = ("diverged", "out of memory")
"""Kinds of failures that the configuration causes."""

OF_THE_MACHINE = (
    "started", "node", "worker", "device", "weights", "threads", "micro_batch", "compute_seconds", "input_seconds",
    "evaluation_seconds", "images_per_second", "gpu_memory_bytes",
)  # fmt: skip
"""Fields of an epoch's record that the search adds about the machine and the network."""


def is_infeasible(trial: FrozenTrial) -> bool:
    """Whether this is a configuration that exceeds a bound, and so no trial of the search."""
    return INFEASIBLE in trial.user_attrs


def is_enqueued(trial: FrozenTrial) -> bool:
    """Whether another program enqueued this trial; earlier releases began some without saying so."""
    return bool(trial.system_attrs.keys() & {ENQUEUED, "fixed_params"})


def is_finished(trial: FrozenTrial) -> bool:
    """Whether the trial can be the best: it was trained to its end, or another program added it as complete."""
    return trial.state == TrialState.COMPLETE and trial.value is not None and math.isfinite(trial.value)


def is_repeat(trial: FrozenTrial) -> bool:
    """Whether this trial trains the configuration of another one again."""
    return REPEATS in trial.user_attrs


def is_untrainable(trial: FrozenTrial) -> bool:
    """Whether the configuration cannot be trained, for a reason that it causes itself."""
    return is_infeasible(trial) or trial.user_attrs.get("failure_kind") in UNTRAINABLE


def is_from_earlier(trial: FrozenTrial) -> bool:
    """Whether this configuration was taken from an earlier search: it is compared at the rungs like a sampled one."""
    return str(trial.user_attrs.get("tag", "")).startswith(TAG)


def epochs_reached(trial: FrozenTrial) -> int:
    """The last epoch of the trial whose value is in the study; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def effort(trials: Iterable[FrozenTrial], *, epochs: int) -> tuple[int, int]:
    """How many epochs the trials were trained, and how many it would be if all were trained to the end.

    Trials that failed or have no finite value are left out of both: what they lack was not saved by early stopping.

    Args:
        trials: of the search.
        epochs: of a trial that is trained to the end.
    """
    valued = [[e for e, v in t.intermediate_values.items() if math.isfinite(v)] for t in trials if _counts(t)]
    trained = [max(found) for found in valued if found]
    return sum(trained), epochs * len(trained)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state not in (TrialState.FAIL, TrialState.WAITING) and not is_infeasible(trial)


def is_paused(trial: FrozenTrial, *, rungs: Sequence[int], live: Collection[int]) -> bool:
    """Whether the trial waits at a rung below the full budget, without a worker."""
    return trial.state == TrialState.RUNNING and trial.number not in live and epochs_reached(trial) in rungs[:-1]


def num_workers(trial: FrozenTrial) -> int:
    """How many workers the configuration of the trial asks for; 1 if that is not for it to decide."""
    return int(trial.user_attrs.get(WORKERS, 1))


def num_weights(trial: FrozenTrial) -> int | None:
    """Number of weights of the network: known before training, or counted after the first epoch in what the user's code
    tracks; None if not known."""
    history = trial.user_attrs.get("history")
    first = history[0] if isinstance(history, list) and history and isinstance(history[0], dict) else {}
    return trial.user_attrs.get("weights", first.get("weights"))


def second_value(trial: FrozenTrial, second: Second, epoch: int) -> float | None:
    """The second objective of a trial at an epoch; None where it is not known or not a finite number."""
    if second.known:
        found = trial.user_attrs.get(second.name)
    else:
        history = trial.user_attrs.get("history", [])
        record = history[epoch - 1] if isinstance(history, list) and 1 <= epoch <= len(history) else {}
        found = record.get(second.name) if isinstance(record, dict) else None
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def stored_latency(trial: FrozenTrial, run: "Run") -> float | None:
    """The latency that was measured before the first epoch of a trial; None if there is none."""
    if run.second is None or not measures_latency(run.second, built_in=bool(run.dataset)):
        return None
    return second_value(trial, run.second, 1)


def last_epoch(trial: FrozenTrial, *, of: int) -> int:
    """The epoch with which the trial is complete.

    Args:
        of: the full budget.
    """
    return int(trial.user_attrs.get(STOP_EPOCH, of))


def kept_epoch(trial: FrozenTrial) -> int | None:
    """The epoch whose weights and value count so far; None where that is the last one in any case."""
    history = trial.user_attrs.get("history")
    last = history[-1] if isinstance(history, list) and history and isinstance(history[-1], dict) else {}
    found = last.get(KEPT_EPOCH)
    return found if isinstance(found, int) else None


def end_attrs(trial: FrozenTrial, run: "Run") -> dict[str, int | float]:
    """The user attributes that an ended trial gets: the epoch it keeps, unless that is the last one, and its latency if
    that is measured.
    """
    found = {KEPT_EPOCH: kept_epoch(trial), LATENCY: stored_latency(trial, run)}
    return {name: value for name, value in found.items() if value is not None}


def seconds_trained(trial: FrozenTrial) -> float:
    """How long the epochs of a trial took, as far as it is stored."""
    records = trial.user_attrs.get("history", [])
    found = (record.get("seconds") for record in records if isinstance(record, dict))
    return sum(value for value in found if isinstance(value, int | float) and math.isfinite(value))
