"""The study of a running search: every write goes to the database first, every read is served from memory.

A sampled configuration enters the database whole, in one transaction, before anything acts on it. Samplers and pruners
work on a mirror in memory, so that their cost does not grow with the latency of the database.
"""

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from search.collection import collector_paused
from search.faults import fault_point
from search.halving import Ladder
from search.learner import Learner, derive_seed
from search.proposal import Chosen, identity
from search.reading import read_trials
from search.sampling import Known, make_encodings, make_pruner, make_sampler, make_view
from search.study import Run


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is known of a configuration before it is trained."""

    attrs: dict[str, Any] = field(default_factory=dict)
    """User attributes of the trial: number of weights, multiply-adds."""
    excess: dict[str, float] = field(default_factory=dict)
    """By how much each bound is exceeded; a value above zero makes the configuration infeasible."""

    @property
    def infeasible(self) -> str | None:
        """Which bounds are exceeded, in words; None for a configuration that may be trained."""
        broken = [f"{name} exceeds its bound by {excess:,.0f}" for name, excess in self.excess.items() if excess > 0]
        return "; ".join(broken) or None


class Ledger:
    """All trials of one study, durable."""

    def __init__(self, storage: BaseStorage, run: Run) -> None:
        self._storage = storage
        self._run = run
        self._study_id = storage.get_study_id_from_name(run.name)
        self._mirror = _Mirror(storage, self._study_id)
        self._view = make_view(run)
        self._encodings = make_encodings()
        self._study = optuna.create_study(storage=self._mirror, direction=run.direction, pruner=make_pruner(run))
        self._ids: list[int] = []
        self._infeasible: list[int] = []
        self._learner = Learner(self, run)
        self._num_reports = 0
        for name, value in storage.get_study_system_attrs(self._study_id).items():
            self._mirror.remember_study_attr(self._study._study_id, name, value)
        with collector_paused():
            for stored in _stored_trials(storage, self._study_id):  # the mirror makes its own copies
                self._remember(stored, stored._trial_id)
                self._mirror.create_new_trial(self._study._study_id, stored)
        self.ladder = Ladder(
            self.trials, rungs=run.rungs, reduction_factor=run.reduction_factor, maximize=run.direction == "maximize"
        )
        """The values at the rungs, kept up to date."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial as the database has it, in the order of their numbers; not to be changed."""
        return self._mirror.stored_trials(self._study._study_id)

    def trial(self, number: int) -> FrozenTrial:
        """One of them, as it is now; not to be changed."""
        return self._mirror.get_trial(number)

    @property
    def num_asked(self) -> int:
        """How many trials count as asked for: all but the infeasible draws."""
        return len(self._ids) - len(self._infeasible)

    def sample(
        self,
        suggest: Callable[[Trial], Any],
        examine: Callable[[Any], Examination],
        *,
        live: Collection[int],
    ) -> int | None:
        """Draw the next configuration and store it as a running trial.

        Returns:
            The trial's number, or None when the draw is infeasible: it is stored PRUNED with its constraint, so that
            the sampler learns from it, and is never trained.

        Raises:
            ValueError: `suggest` failed or gave a configuration that cannot be built; the line has the parameters.
        """
        number = len(self._ids)
        seed = derive_seed(self._run.seed, number)
        known = Known(ladder=self.ladder, infeasible=self._infeasible)
        self._mirror.show(self._view(self.trials, live, known), in_place_of=number)
        self._study.sampler = self._sampler(suggest, number, seed, live)
        trial = self._study.ask()
        try:
            examination = examine(suggest(trial))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(
                f"space {self._run.space!r} fails on trial {number} with {trial.params}: {reason}"
            ) from error
        finally:
            self._mirror.show_all()
        for name, excess in examination.excess.items():
            trial.set_constraint(name, excess)
        for name, value in {"seed": seed, **examination.attrs}.items():
            trial.set_user_attr(name, value)
        if examination.infeasible:
            trial.set_user_attr("infeasible", examination.infeasible)
            self._mirror.set_trial_state_values(trial._trial_id, TrialState.PRUNED)
        self._store(self._mirror.get_trial(trial._trial_id))
        return None if examination.infeasible else number

    def _sampler(self, suggest: Callable[[Any], Any], number: int, seed: int, live: Collection[int]) -> BaseSampler:
        if self._run.sampler == "curves":
            return Chosen(self._learner.configuration(suggest, number=number, live=live), seed=seed)
        return make_sampler(self._run.sampler, seed=self._run.seed, trial_seed=seed, encodings=self._encodings)

    def promotion(self, suggest: Callable[[Any], Any], paused: Collection[int], *, live: Collection[int]) -> int | None:
        """The number of the paused trial to continue, or None when a new configuration is the better use of a slot.

        Args:
            live: numbers of the trials that have a worker, but for one of `paused`.
        """
        return self._learner.promotion(suggest, paused, number=len(self._ids), live=live)

    def add(self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], **attrs: Any) -> int:
        """Store a planned configuration as a running trial and return its number."""
        number = len(self._ids)
        attrs.setdefault("seed", derive_seed(self._run.seed, number))
        trial = create_trial(
            state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions), user_attrs=attrs
        )
        trial_id = self._mirror.create_new_trial(self._study._study_id, trial)
        self._store(self._mirror.get_trial(trial_id))
        return number

    def _store(self, trial: FrozenTrial) -> None:
        self._remember(trial, self._storage.create_new_trial(self._study_id, template_trial=trial))
        fault_point("sampled", len(self._ids))

    def _remember(self, trial: FrozenTrial, stored_id: int) -> None:
        if "infeasible" in trial.user_attrs:
            self._infeasible.append(len(self._ids))
            self._learner.forget()
        self._ids.append(stored_id)
        self._learner.tried.add(identity(trial.params))

    def report(self, number: int, *, epoch: int, value: float, record: dict[str, Any]) -> None:
        """Store one finished epoch; a second report of the same epoch changes nothing.

        The record goes first: a crash in between leaves an epoch without its value, and that epoch is reported again.
        """
        trial = self.trial(number)
        if epoch in trial.intermediate_values:
            return
        history = [*trial.user_attrs.get("history", [])[: epoch - 1], record]
        self.annotate(number, history=history)
        self._num_reports += 1
        fault_point("recorded", self._num_reports)
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, value)
        fault_point("reported", self._num_reports)
        self._mirror.set_trial_intermediate_value(number, epoch, value)
        if epoch in self._run.rungs:
            self.ladder.add(number, rung=epoch, value=value)
            self._learner.forget()

    def annotate(self, number: int, **attrs: Any) -> None:
        """Store attributes of a trial."""
        for name, value in attrs.items():
            self._storage.set_trial_user_attr(self._ids[number], name, value)
            self._mirror.set_trial_user_attr(number, name, value)

    def should_prune(self, number: int) -> bool:
        """What the run's pruner says of this trial now."""
        return self._study.pruner.prune(self._study, self.trial(number))

    def finish(self, number: int, state: TrialState, **attrs: Any) -> None:
        """Give a trial its final state; COMPLETE and PRUNED take the last value as theirs."""
        self.annotate(number, **attrs)
        values = self.trial(number).intermediate_values
        final = [values[max(values)]] if values and state != TrialState.FAIL else None
        self._storage.set_trial_state_values(self._ids[number], state, final)
        self._mirror.set_trial_state_values(number, state, final)
        if state == TrialState.FAIL:
            self.ladder.remove(number)
            self._learner.forget()


def _stored_trials(storage: BaseStorage, study_id: int) -> list[FrozenTrial]:
    if isinstance(storage, RDBStorage):
        return read_trials(storage, study_id)
    return storage.get_all_trials(study_id, deepcopy=False)


class _Mirror(InMemoryStorage):
    """The study in memory. Samplers may be shown other trials in place of the stored ones."""

    def __init__(self, durable: BaseStorage, study_id: int) -> None:
        super().__init__()
        self._durable = durable
        self._durable_study_id = study_id
        self._shown: list[FrozenTrial] = []
        self._num_replaced = 0

    def show(self, trials: list[FrozenTrial], *, in_place_of: int) -> None:
        """From now on let `get_all_trials` give these in place of the first few stored ones."""
        self._shown, self._num_replaced = trials, in_place_of

    def show_all(self) -> None:
        """Let `get_all_trials` give what is stored."""
        self.show([], in_place_of=0)

    def stored_trials(self, study_id: int) -> list[FrozenTrial]:
        return super().get_all_trials(study_id, deepcopy=False)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if not self._num_replaced:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = [*self._shown, *self.stored_trials(study_id)[self._num_replaced :]]
        return [t for t in trials if states is None or t.state in states]

    def remember_study_attr(self, study_id: int, key: str, value: Any) -> None:
        """Take over what the database holds already."""
        super().set_study_system_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Some samplers keep a position in the study (QMC): it must survive as the trials do."""
        self._durable.set_study_system_attr(self._durable_study_id, key, value)
        super().set_study_system_attr(study_id, key, value)
