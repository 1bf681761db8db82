"""The study of a running search: every write goes to the database first, every read is served from memory.

A sampled configuration enters the database whole, in one transaction, before anything acts on it. Samplers and pruners
work on a mirror in memory, so that their cost does not grow with the latency of the database.
"""

import copy
from bisect import insort
from collections.abc import Callable, Collection, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from search.algorithms.candidates import Chosen, identity
from search.algorithms.curves import Learner, derive_seed
from search.algorithms.halving import Ladder
from search.algorithms.optuna_samplers import Known, make_encodings, make_pruner, make_sampler, make_view
from search.checksums import CHECKSUM, trial_checksum
from search.examination import Examination
from search.process.faults import fault_point
from search.storage.collector import collector_paused
from search.storage.database import reading
from search.storage.enqueued import begin
from search.storage.mirror import Mirror
from search.storage.presence import StudyLostError
from search.storage.rdb import WholeTrialStorage, store_epoch
from search.storage.reading import stored_trials
from search.storage.soundness import check_trials, num_kept
from search.storage.study import Run


class Ledger:
    """All trials of one study, durable.

    A trial that another program has put there is kept, and counts, but nothing is learnt from it: it has no rungs. One
    that waits, enqueued with Optuna or its dashboard, is taken up before any new configuration.
    """

    def __init__(self, storage: BaseStorage, run: Run) -> None:
        self._storage = storage
        self._run = run
        self._study_id = storage.get_study_id_from_name(run.name)
        self._mirror = Mirror(storage, self._study_id)
        self._view = make_view(run)
        self._encodings = make_encodings()
        self._study = optuna.create_study(storage=self._mirror, direction=run.direction, pruner=make_pruner(run))
        self._ids: list[int] = []
        self._infeasible: list[int] = []
        self.made: list[int] = []
        """Numbers of the trials whose configurations this search planned or sampled, in their order."""
        self.waiting: list[int] = []
        """Numbers of the trials that were enqueued and not yet taken up."""
        self._bases: dict[int, int] = {}
        """Checksums of configurations."""
        self._learner = Learner(self, run)
        self._num_reports = 0
        self._load()
        self.ladder = Ladder(
            self.own_trials,
            rungs=run.rungs,
            reduction_factor=run.reduction_factor,
            maximize=run.direction == "maximize",
        )
        """The values at the rungs, kept up to date."""

    def _load(self) -> None:
        with reading(getattr(self._storage, "where", "the study")), collector_paused():
            attrs = self._storage.get_study_system_attrs(self._study_id)
            for name, value in attrs.items():
                self._mirror.remember_study_attr(self._study._study_id, name, value)
            trials = stored_trials(self._storage, self._study_id)
            check_trials(trials, metric=self._run.metric, at_least=num_kept(attrs))
            for stored in trials:
                self._adopt(stored)

    def _adopt(self, stored: FrozenTrial) -> None:
        """Take over a trial that the database holds; the mirror makes its own copy."""
        number = len(self._ids)
        self._mirror.create_new_trial(self._study._study_id, stored)
        self._remember(stored, stored._trial_id)
        if stored.state == TrialState.WAITING:
            self.waiting.append(number)
        if stored.state == TrialState.WAITING or "seed" not in stored.user_attrs:
            self._mirror.hidden.add(number)

    def catch_up(self) -> None:
        """Take over what other programs have put into the study since.

        Raises:
            StudyLostError: one of them runs trials.
        """
        if not isinstance(self._storage, WholeTrialStorage):
            return
        if self._storage.newest_trial(self._study_id) == (self._ids[-1] if self._ids else None):
            return
        for stored in stored_trials(self._storage, self._study_id)[len(self._ids) :]:
            if stored.state == TrialState.RUNNING:
                raise StudyLostError(f"another program runs trial {stored.number} of this study; end it and resume")
            self._adopt(stored)

    @property
    def lost(self) -> Exception | None:
        """Why the study is no longer this process's to write, if that has been noticed."""
        return getattr(self._storage, "lost", None)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial as the database has it, in the order of their numbers; not to be changed."""
        return self._mirror.stored_trials(self._study._study_id)

    @property
    def own_trials(self) -> list[FrozenTrial]:
        """Those that were sampled, planned or taken up by this search."""
        hidden = self._mirror.hidden
        return [trial for trial in self.trials if trial.number not in hidden] if hidden else self.trials

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
        seed = self._prepare(suggest, number, live)
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
        self._seal(number)
        if examination.infeasible:
            self._mirror.set_trial_state_values(trial._trial_id, TrialState.PRUNED)
        self._store(self._mirror.get_trial(trial._trial_id))
        return None if examination.infeasible else number

    def take_up(
        self,
        suggest: Callable[[Trial], Any],
        examine: Callable[[Any], Examination],
        *,
        live: Collection[int],
    ) -> tuple[int, str]:
        """Begin the trial that has waited longest; what its configuration lacks is sampled.

        Returns:
            The trial's number, and what is to be said of it, if anything. It is RUNNING; or FAIL, with a value that the
            space does not have; or PRUNED, where it exceeds a bound.
        """
        number = self.waiting[0]
        before = copy.deepcopy(self.trial(number))
        seed = self._prepare(suggest, number, live)
        try:
            said = begin(self._study, number, suggest=suggest, examine=examine, seed=seed)
        finally:
            self._mirror.show_all()
        trial = self.trial(number)
        if isinstance(self._storage, WholeTrialStorage):
            self._storage.begin_waiting(self._ids[number], trial, before=before)
        self.waiting.remove(number)
        self._mirror.hidden.discard(number)
        self._note(trial)
        fault_point("sampled", len(self._ids))
        return number, said

    def _prepare(self, suggest: Callable[[Any], Any], number: int, live: Collection[int]) -> int:
        """Set the sampler up for the trial of this number, and return the trial's seed."""
        seed = derive_seed(self._run.seed, number)
        known = Known(ladder=self.ladder, infeasible=self._infeasible)
        self._mirror.show(self._view(self.trials, live, known), in_place_of=len(self._ids))
        self._study.sampler = self._sampler(suggest, number, seed, live)
        return seed

    def _seal(self, number: int) -> None:
        """Give a trial whose configuration is complete the checksum of it."""
        self._bases[number] = trial_checksum(self.trial(number))
        self._mirror.set_trial_system_attr(number, CHECKSUM, self._bases[number])

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
        self._seal(number)
        self._store(self._mirror.get_trial(trial_id))
        return number

    def _store(self, trial: FrozenTrial) -> None:
        self._remember(trial, self._storage.create_new_trial(self._study_id, template_trial=trial))
        fault_point("sampled", len(self._ids))

    def _remember(self, trial: FrozenTrial, stored_id: int) -> None:
        if "seed" in trial.user_attrs and "fixed_params" not in trial.system_attrs:
            self.made.append(len(self._ids))
        self._ids.append(stored_id)
        self._note(trial)

    def _note(self, trial: FrozenTrial) -> None:
        if "infeasible" in trial.user_attrs:
            insort(self._infeasible, trial.number)
            self._learner.forget()
        self._learner.tried.add(identity(trial.params))

    def report(self, number: int, *, epoch: int, value: float, record: dict[str, Any]) -> None:
        """Store one finished epoch, whole; a second report of the same epoch changes nothing."""
        trial = self.trial(number)
        if epoch in trial.intermediate_values:
            return
        history = [*trial.user_attrs.get("history", [])[: epoch - 1], record]
        self._num_reports += 1
        fault_point("recorded", self._num_reports)
        self._store_epoch(number, epoch=epoch, value=value, history=history)
        fault_point("reported", self._num_reports)
        self._mirror.set_trial_intermediate_value(number, epoch, value)
        if epoch in self._run.rungs:
            self.ladder.add(number, rung=epoch, value=value)
            self._learner.forget()

    def _store_epoch(self, number: int, *, epoch: int, value: float, history: list[dict[str, Any]]) -> None:
        if number not in self._bases:
            self._bases[number] = trial_checksum(self.trial(number))
        base = self._bases[number]
        checksum = store_epoch(self._storage, self._ids[number], epoch=epoch, value=value, history=history, base=base)
        self._mirror.set_trial_user_attr(number, "history", history)
        self._mirror.set_trial_system_attr(number, CHECKSUM, checksum)

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
