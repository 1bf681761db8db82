"""Facts of a stored trial."""

from collections.abc import Collection, Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState

from spaces.objectives import Objective

INFEASIBLE = "infeasible"
"""User attribute of a configuration that exceeds a bound: which one, in words. It is stored and never trained."""


def is_infeasible(trial: FrozenTrial) -> bool:
    """Whether this is a configuration that exceeds a bound, and so no trial of the search."""
    return INFEASIBLE in trial.user_attrs


def best_trial(trials: Iterable[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The best trial that was trained to its full budget, of equal ones the older; None if there is none."""
    complete = {t.number: t for t in trials if t.state == TrialState.COMPLETE and t.value is not None}
    number = objective.best((n, t.value) for n, t in complete.items() if t.value is not None)
    return None if number is None else complete[number]


def epochs_reached(trial: FrozenTrial) -> int:
    """The last epoch of the trial whose value is in the study; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def is_paused(trial: FrozenTrial, *, rungs: Sequence[int], live: Collection[int]) -> bool:
    """Whether the trial waits at a rung below the full budget, without a worker."""
    return trial.state == TrialState.RUNNING and trial.number not in live and epochs_reached(trial) in rungs[:-1]


def num_weights(trial: FrozenTrial) -> int | None:
    """Number of weights of the network: known before training, or counted after the first epoch in what the user's code
    tracks; None if not known."""
    history = trial.user_attrs.get("history")
    first = history[0] if isinstance(history, list) and history and isinstance(history[0], dict) else {}
    return trial.user_attrs.get("weights", first.get("weights"))
