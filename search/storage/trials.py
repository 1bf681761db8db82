"""Facts of a stored trial."""

from collections.abc import Collection, Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState

from spaces.objectives import Objective


def best_trial(trials: Iterable[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The best trial that was trained to its full budget; the older among equals. None before the first."""
    complete = {t.number: t for t in trials if t.state == TrialState.COMPLETE and t.value is not None}
    number = objective.best((n, t.value) for n, t in complete.items() if t.value is not None)
    return None if number is None else complete[number]


def epochs_reached(trial: FrozenTrial) -> int:
    """The last epoch whose value is in the study; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def is_paused(trial: FrozenTrial, *, rungs: Sequence[int], live: Collection[int]) -> bool:
    """Whether the trial waits at a rung below the full budget, without a worker."""
    return trial.state == TrialState.RUNNING and trial.number not in live and epochs_reached(trial) in rungs[:-1]
