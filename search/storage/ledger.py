"""The study of a running search: every write goes to the database first, every read comes from memory.

A configuration is stored in one transaction, before anything uses it. Samplers and pruners work on a study in memory,
so that they never wait for the database. No other file writes trials.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.process.faults import fault_point
from search.storage.checksums import CHECKSUM, final_checksum, trial_checksum, with_state
from search.storage.collector import collector_paused
from search.storage.database import AWAY, reading
from search.storage.durable import NumberTakenError, StudyStorage
from search.storage.mirror import Mirror
from search.storage.presence import StudyLostError
from search.storage.reading import stored_trials
from search.storage.requests import BY_REQUEST, Request, requests_in
from search.storage.run import Run
from search.storage.seeds import derive_seed
from search.storage.soundness import check_trials, num_kept
from search.storage.trials import REPEATS, is_enqueued, is_from_earlier, is_infeasible, is_repeat


class Ledger:
    """All trials of one study, stored durably. It decides nothing: which trial is next is decided by `Proposals`.

    A trial that another program added is kept, and counts. One that waits, enqueued with Optuna or its dashboard, is
    listed in `waiting` until it is begun.
    """

    def __init__(self, storage: BaseStorage, run: Run) -> None:
        self._storage = storage
        self._run = run
        self._study_id = storage.get_study_id_from_name(run.name)
        self._mirror = Mirror()
        self.study = optuna.create_study(study_name=run.name, storage=self._mirror, direction=run.direction)
        """The study in memory, on which trials are sampled; `store` and `take_up` then write them to the database."""
        self._ids: list[int] = []
        self._num_infeasible = self._num_repeats = 0
        self.made: list[int] = []
        """Numbers of the trials whose configurations this search planned or sampled, in order."""
        self.waiting: list[int] = []
        """Numbers of the trials that were enqueued and not yet begun."""
        self._bases: dict[int, int] = {}
        """Trial -> checksum of its configuration."""
        self._num_reports = 0
        self._load()

    def _load(self) -> None:
        with reading(getattr(self._storage, "where", "the study")), collector_paused():
            attrs = self._storage.get_study_system_attrs(self._study_id)
            for name, value in attrs.items():
                self._mirror.remember_study_attr(self.study._study_id, name, value)
            trials = stored_trials(self._storage, self._study_id)
            check_trials(trials, metric=self._run.metric, at_least=num_kept(attrs))
            for stored in trials:
                self._adopt(stored)

    def _adopt(self, stored: FrozenTrial) -> None:
        """Add a trial that is in the database; the mirror copies it."""
        number = len(self._ids)
        self._mirror.create_new_trial(self.study._study_id, stored)
        self._remember(stored, stored._trial_id)
        if stored.state == TrialState.WAITING:
            self.waiting.append(number)
        if stored.state == TrialState.WAITING or "seed" not in stored.user_attrs:
            self._mirror.hidden.add(number)

    def catch_up(self) -> None:
        """Add the trials that other programs have added to the study since the last call.

        Raises:
            StudyLostError: one of them runs trials.
        """
        if not isinstance(self._storage, StudyStorage):
            return
        if self._storage.newest_trial(self._study_id) == (self._ids[-1] if self._ids else None):
            return
        for stored in stored_trials(self._storage, self._study_id)[len(self._ids) :]:
            if stored.state == TrialState.RUNNING:
                raise StudyLostError(
                    f"another program is running trial {stored.number} of this study; stop it and resume"
                )
            self._adopt(stored)

    def requests(self) -> list[Request]:
        """The requests to this search as they are stored now; none while the database does not answer."""
        try:
            return requests_in(self._storage.get_study_system_attrs(self._study_id))
        except AWAY:  # each write finds out whether it is gone
            return []

    def answer(self, request: Request) -> None:
        """Store an answered request."""
        self.note(request.key, request.content)
        fault_point("answered", request.number or 0)

    def note(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a system attribute of the study, whole or not at all."""
        if isinstance(self._storage, StudyStorage):
            self._storage.store_entry(self._study_id, key, json.dumps(content))
        else:
            self._storage.set_study_system_attr(self._study_id, key, dict(content))

    def noted(self, key: str) -> Any:
        """A system attribute of the study as it is stored now; None if there is none."""
        return self._storage.get_study_system_attrs(self._study_id).get(key)

    @property
    def lost(self) -> Exception | None:
        """Why this process must no longer write to the study, if that has been noticed; else None."""
        return getattr(self._storage, "lost", None)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial as it is in the database, in the order of their numbers; do not change them."""
        return self._mirror.stored_trials(self.study._study_id)

    @property
    def own_trials(self) -> list[FrozenTrial]:
        """The trials that this search sampled, planned or took up."""
        hidden = self._mirror.hidden
        return [trial for trial in self.trials if trial.number not in hidden] if hidden else self.trials

    def trial(self, number: int) -> FrozenTrial:
        """The trial with this number, as it is now; do not change it."""
        return self._mirror.get_trial(number)

    @property
    def num_stored(self) -> int:
        """Number of trials in the database, which is the number of the next one."""
        return len(self._ids)

    @property
    def num_asked(self) -> int:
        """Number of trials that count towards --trials: all except infeasible configurations and repeats."""
        return len(self._ids) - self._num_infeasible - self._num_repeats

    @contextmanager
    def showing(self, trials: list[FrozenTrial]) -> Iterator[None]:
        """Inside, samplers see these trials in place of the stored ones."""
        self._mirror.show(trials, in_place_of=len(self._ids))
        try:
            yield
        finally:
            self._mirror.show_all()

    def add(self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], **attrs: Any) -> int:
        """Store a planned configuration as a running trial and return its number."""
        number = len(self._ids)
        seeded = {"seed": derive_seed(self._run.seed, number)}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=attrs if "seed" in attrs else attrs | seeded,
        )
        self._mirror.create_new_trial(self.study._study_id, trial)
        try:
            self.store(number)
        except NumberTakenError:  # by a trial that was enqueued; this one gets the next number
            return self.add(params, distributions, **attrs)
        return number

    def store(self, number: int, *, state: TrialState = TrialState.RUNNING) -> None:
        """Store a running trial of the study in memory whose configuration is complete.

        Args:
            number: of the trial, which is the next.
            state: PRUNED for one that is never trained.

        Raises:
            NumberTakenError: another program has enqueued a trial since the last `catch_up`. It has the number now, and
                nothing is left of this one.
            StudyLostError: another program runs trials.
        """
        base = trial_checksum(self.trial(number))
        ended = state != TrialState.RUNNING
        self._mirror.set_trial_system_attr(number, CHECKSUM, with_state(base, state) if ended else base)
        if ended:
            self._mirror.set_trial_state_values(number, state)
        trial = self.trial(number)
        try:
            stored_id = self._insert(trial)
        except NumberTakenError:
            self._mirror = self._mirror.first(number, study_id=self.study._study_id)
            self.study = optuna.load_study(study_name=self._run.name, storage=self._mirror, pruner=self.study.pruner)
            self.catch_up()
            raise
        self._bases[number] = base
        self._mirror.keep_noted(self.study._study_id)
        self._remember(trial, stored_id)
        fault_point("sampled", len(self._ids))

    def _insert(self, trial: FrozenTrial) -> int:
        entries = self._mirror.noted
        if isinstance(self._storage, StudyStorage):
            return self._storage.store_trial(self._study_id, trial, entries=entries)
        for key, value in entries.items():
            self._storage.set_study_system_attr(self._study_id, key, value)
        return self._storage.create_new_trial(self._study_id, template_trial=trial)

    def take_up(self, number: int, *, before: FrozenTrial) -> None:
        """Store a trial that waited and has been begun in the study in memory.

        Args:
            before: the trial as it waited.

        Raises:
            StudyLostError: another process has begun it.
        """
        trial = self.trial(number)
        if isinstance(self._storage, StudyStorage):
            noted = self._mirror.noted
            self._storage.begin_waiting(self._study_id, self._ids[number], trial, before=before, entries=noted)
        self._mirror.keep_noted(self.study._study_id)
        self.waiting.remove(number)
        self._mirror.hidden.discard(number)
        self._num_infeasible += is_infeasible(trial)
        fault_point("sampled", len(self._ids))

    def _remember(self, trial: FrozenTrial, stored_id: int) -> None:
        is_own = "seed" in trial.user_attrs and trial.state != TrialState.WAITING and not is_enqueued(trial)
        if is_own and not trial.user_attrs.keys() & {BY_REQUEST, REPEATS}:
            self.made.append(len(self._ids))
        self._num_repeats += is_repeat(trial)
        self._ids.append(stored_id)
        self._num_infeasible += is_infeasible(trial)

    def is_asked_for(self, trial: FrozenTrial) -> bool:
        """Whether the trial is trained to the end in any case: the plan of the run or a person asked for it, or it
        repeats another one."""
        planned = trial.number in self.made[: len(self._run.plan)] and not is_from_earlier(trial)
        return planned or bool(trial.user_attrs.keys() & {BY_REQUEST, REPEATS})

    def report(self, number: int, *, epoch: int, value: float, record: dict[str, Any]) -> bool:
        """Store one finished epoch, completely; a second report of the same epoch changes nothing.

        Returns:
            Whether the epoch is new.
        """
        trial = self.trial(number)
        if epoch in trial.intermediate_values:
            return False
        history = [*trial.user_attrs.get("history", [])[: epoch - 1], record]
        self._num_reports += 1
        fault_point("recorded", self._num_reports)
        self._store_epoch(number, epoch=epoch, value=value, history=history)
        fault_point("reported", self._num_reports)
        self._mirror.set_trial_intermediate_value(number, epoch, value)
        return True

    def _store_epoch(self, number: int, *, epoch: int, value: float, history: list[dict[str, Any]]) -> None:
        if number not in self._bases:
            self._bases[number] = trial_checksum(self.trial(number))
        trial_id, base = self._ids[number], self._bases[number]
        if isinstance(self._storage, StudyStorage):
            checksum = self._storage.record_epoch(trial_id, epoch=epoch, value=value, history=history, base=base)
            self._mirror.set_trial_system_attr(number, CHECKSUM, checksum)
        else:  # a simulated search, in memory
            self._storage.set_trial_user_attr(trial_id, "history", history)
            self._storage.set_trial_intermediate_value(trial_id, epoch, value)
        self._mirror.set_trial_user_attr(number, "history", history)

    def finish(self, number: int, state: TrialState, **attrs: Any) -> None:
        """Give a trial its final state and further attributes; COMPLETE and PRUNED take the last value as theirs."""
        trial, trial_id = self.trial(number), self._ids[number]
        values = trial.intermediate_values
        value = values[max(values)] if values and state != TrialState.FAIL else None
        final = None if value is None else [value]
        if isinstance(self._storage, StudyStorage):
            checksum = final_checksum(trial, state, base=self._bases.get(number) or trial_checksum(trial))
            self._storage.finish_trial(trial_id, state, value=value, attrs=attrs, checksum=checksum)
            self._mirror.set_trial_system_attr(number, CHECKSUM, checksum)
        else:  # a simulated search, in memory
            for name, content in attrs.items():
                self._storage.set_trial_user_attr(trial_id, name, content)
            self._storage.set_trial_state_values(trial_id, state, final)
        for name, content in attrs.items():
            self._mirror.set_trial_user_attr(number, name, content)
        self._mirror.set_trial_state_values(number, state, final)
