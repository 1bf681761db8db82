"""Facts of a stored trial."""

from collections.abc import Collection, Sequence

from optuna.trial import FrozenTrial, TrialState


def best_trial(trials: list[FrozenTrial], *, maximize: bool) -> FrozenTrial | None:
    """The best trial that was trained to its full budget; the older among equals. None before the first."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    sign = -1 if maximize else 1
    return min(complete, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)


def epochs_reached(trial: FrozenTrial) -> int:
    """The last epoch whose value is in the study; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def is_paused(trial: FrozenTrial, *, rungs: Sequence[int], live: Collection[int]) -> bool:
    """Whether the trial waits at a rung below the full budget, without a worker."""
    return trial.state == TrialState.RUNNING and trial.number not in live and epochs_reached(trial) in rungs[:-1]
