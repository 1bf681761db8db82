"""Begins trials that were enqueued with Optuna or its dashboard: checks their fixed values, samples the others."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import Trial, TrialState

from search.scheduling.configurations import check_held
from search.scheduling.constraints import Examination, Examine
from search.storage.checksums import CHECKSUM, trial_checksum, with_state
from search.storage.run import Run
from search.storage.seeds import derive_seed
from search.storage.trials import ENQUEUED, INFEASIBLE
from spaces.asking import Suggest
from spaces.guarded import reason_of


class _Enqueued(Trial):
    """Refuses a value that its parameter cannot have in this search; Optuna would only warn."""

    def __init__(self, study: Study, trial_id: int, run: Run) -> None:
        super().__init__(study, trial_id)
        self._run = run
        stored = self._cached_frozen_trial
        self.fixed: Mapping[str, Any] = {**stored.params, **stored.system_attrs.get("fixed_params", {})}
        self.asked: set[str] = set()

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        self.asked.add(name)
        if name in self.fixed:
            self._fixed_params[name] = value = _fitting(name, self.fixed[name], distribution)
            check_held({name: value}, self._run)
        return super()._suggest(name, distribution)


def _fitting(name: str, value: Any, distribution: BaseDistribution) -> Any:
    """The value as the parameter states it: an integer that came as 3.0 is 3."""
    try:
        number = distribution.to_internal_repr(value)
        if distribution._contains(number):
            return distribution.to_external_repr(number)
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"{name} must be {_range(distribution)}, got {value!r}"[:300])


def _range(distribution: Any) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(str, distribution.choices))}"
    step = getattr(distribution, "step", None)
    return f"in [{distribution.low:g}, {distribution.high:g}]" + (f" in steps of {step:g}" if step else "")


def begin(
    study: Study,
    number: int,
    *,
    suggest: Suggest,
    examine: Examine,
    run: Run,
) -> str:
    """Turn a waiting trial of a study in memory into a running one, or into one that has failed.

    Args:
        study: in memory, with the sampler for the parameters that are not fixed.
        number: number of the trial, which is also its identifier.
        suggest: that of the space.
        examine: computes what is known of a configuration before it is trained.
        run: gives the seed, and the values that --fix and --question allow.

    Returns:
        A note for the user; empty if the trial is as it was enqueued.
    """
    storage = study._storage
    storage.set_trial_state_values(number, TrialState.RUNNING)
    trial = _Enqueued(study, number, run)
    storage.set_trial_user_attr(number, "seed", derive_seed(run.seed, number))
    storage.set_trial_system_attr(number, ENQUEUED, True)
    try:
        examination = examine(suggest(trial))
    except Exception as error:  # a value that the space does not have, or a network that cannot be built from it
        return _refuse(study, number, reason_of(error))
    _note(examination, study, trial)
    checksum = trial_checksum(storage.get_trial(number))
    if examination.infeasible:
        storage.set_trial_system_attr(number, CHECKSUM, with_state(checksum, TrialState.PRUNED))
        storage.set_trial_state_values(number, TrialState.PRUNED)
        return f"trial {number}, enqueued, is not trained: {examination.infeasible}"
    storage.set_trial_system_attr(number, CHECKSUM, checksum)
    left_out = [name for name in trial.fixed if name not in trial.asked]
    reason = "the space does not use it with these values" if len(left_out) == 1 else "the space does not use them"
    return f"trial {number}, enqueued, is trained without {', '.join(left_out)}: {reason}" if left_out else ""


def _note(examination: Examination, study: Study, trial: Trial) -> None:
    """Store with the trial what is known of its configuration."""
    for name, excess in examination.excess.items():
        trial.set_constraint(name, excess)
    for name, value in examination.attrs.items():
        study._storage.set_trial_user_attr(trial.number, name, value)
    if examination.infeasible:
        study._storage.set_trial_user_attr(trial.number, INFEASIBLE, examination.infeasible)


def _refuse(study: Study, number: int, reason: str) -> str:
    storage = study._storage
    storage.set_trial_user_attr(number, "failure", f"enqueued, but {reason}")
    storage.set_trial_user_attr(number, "failure_kind", "invalid")
    checksum = with_state(trial_checksum(storage.get_trial(number)), TrialState.FAIL)
    storage.set_trial_system_attr(number, CHECKSUM, checksum)
    storage.set_trial_state_values(number, TrialState.FAIL)
    return f"trial {number}, enqueued, is not trained: {reason}"
