"""A search that is to be continued: a copy of its study in memory, on which its next steps are tried."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.forecast.simulate import Silent
from search.process.text import counted
from search.scheduling.constraints import Examine, examine_workers
from search.scheduling.search import Search
from search.scheduling.steering import Steering
from search.storage.checksums import CHECKSUM
from search.storage.ledger import Ledger
from search.storage.requests import Request, new_key
from search.storage.run import Run
from search.storage.trials import REPEATS
from spaces.space import Space


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The trials of such a search, and what follows from them."""

    trials: tuple[FrozenTrial, ...]
    """As they are stored, after the requests that waited were answered."""
    attrs: Mapping[str, Any]
    """System attributes of the study: the requests, and whether the search has ended."""
    best_first: tuple[int, ...]
    """Numbers of the trials that have reached the first rung."""
    unfinished: tuple[FrozenTrial, ...]
    """Those of the trials that can go on."""
    num_asked: int
    """Trials that have begun, without infeasible ones."""
    num_added: int
    """Trials that the requests have added, which have not begun."""
    num_new: int
    """Trials that are still to be sampled, or have been enqueued by another program."""
    has_all: bool = False
    """Whether every configuration of the space has been tried."""

    @classmethod
    def read(cls, study: optuna.Study, run: Run, space: Space, examine: Examine) -> "Begun":
        """What is stored in a study that was opened for reading.

        Args:
            run: as it is continued, with its ranges and number of trials.
            examine: computes what is known of a configuration before it is trained.
        """
        attrs = study._storage.get_study_system_attrs(study._study_id)
        stored = study.get_trials(deepcopy=False)
        storage = _in_memory(run, stored, attrs)
        search = Search(run, Ledger(storage, run), space, examine=examine, events=Silent())
        ledger, running = search.ledger, [t.number for t in search.trials if t.state == TrialState.RUNNING]
        num_added, num_waiting = len(ledger.trials) - len(stored), len(ledger.waiting)
        num_open = 0 if search.outlook.all_begun else search.steering.num_open
        return cls(
            trials=tuple(ledger.trials),
            unfinished=tuple(ledger.trial(number) for number in sorted(search.steering.released(running))),
            attrs=storage.get_study_system_attrs(storage.get_study_id_from_name(run.name)),
            best_first=tuple(search.proposals.rungs.pooled()),
            num_asked=ledger.num_asked - num_waiting - num_added,
            num_added=num_added,
            num_new=num_open + num_waiting,
            has_all=search.proposals.exhausted(space.suggest),
        )

    @property
    def size(self) -> int:
        """A number that no later trial reaches."""
        return len(self.trials) + self.num_new

    @property
    def num_in_all(self) -> int:
        """Trials of the search when it ends, without infeasible ones."""
        return self.num_asked + self.num_added + self.num_new

    def describe(self, run: Run, *, is_over: bool) -> str:
        """What of the run has been trained, and what follows, in one line.

        Args:
            is_over: whether nothing would be trained.
        """
        num_open = len(self.unfinished) - self.num_added
        said = f"{self.num_asked} of {counted(run.trials, 'trial')} have begun, {num_open} of them can go on"
        if self.num_added:
            said += f", {self.num_added} added by `ctl` {'waits' if self.num_added == 1 else 'wait'}"
        if not is_over:
            return f"{said}; the resumed search would train next:"
        if self.has_all:
            return f"{said}; every configuration of the space has been tried"
        if self.num_new:
            return f"{said}; no new trial begins because of --until-gain, and --until-gain 0 lets new ones begin"
        return f"{said}; nothing is left to train; --trials with a larger number adds some"

    def ledger(self, run: Run, level: Callable[[int], float] | None = None) -> Ledger:
        """A new copy of the study in memory.

        Args:
            level: number of a trial -> its value in every epoch, in place of what was measured.
        """
        trials = self.trials
        if level is not None:
            trials = [_with_level(trial, level(trial.user_attrs.get(REPEATS, trial.number))) for trial in trials]
        return Ledger(_in_memory(run, trials, self.attrs), run)


def foreseen(request: Request, study: optuna.Study, run: Run, space: Space) -> Request:
    """The answer that the search would give to a request if it were resumed now, without the bounds on sizes.

    Args:
        study: opened for reading.
    """
    attrs, key = study._storage.get_study_system_attrs(study._study_id), new_key()
    as_stored = json.loads(json.dumps(request.content))
    storage = _in_memory(run, study.get_trials(deepcopy=False), {**attrs, key: as_stored})
    steering = Steering(Ledger(storage, run), run, space, examine=examine_workers(run, space), most_slots=None)
    return next(one for one in steering.answer_all(live=(), deadline=None) if one.key == key)


def _in_memory(run: Run, trials: "tuple[FrozenTrial, ...] | list[FrozenTrial]", attrs: Mapping[str, Any]) -> Any:
    storage = InMemoryStorage()
    study = optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    for name, value in attrs.items():
        storage.set_study_system_attr(study._study_id, name, value)
    study.add_trials(trials)
    return storage


def _with_level(trial: FrozenTrial, level: float) -> FrozenTrial:
    return create_trial(
        state=trial.state,
        value=None if trial.value is None else level,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={name: value for name, value in trial.user_attrs.items() if name != "history"},
        system_attrs={name: value for name, value in trial.system_attrs.items() if name != CHECKSUM},
        intermediate_values=dict.fromkeys(trial.intermediate_values, level),
    )
