"""Decides what is trained next: planned, enqueued and sampled configurations, and paused trials that continue.

A proposal depends only on the study, the seeds and which trials have a worker, so a resumed search proposes the same as
an uninterrupted one.
"""

import copy
from bisect import insort
from collections.abc import Callable, Collection
from dataclasses import replace

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.candidates import Chosen, Held, identity
from search.algorithms.curves import Aim, CurvesSampler
from search.algorithms.front import Price
from search.algorithms.front_rungs import make_rungs
from search.algorithms.optuna_samplers import Known, make_encodings, make_pruner, make_sampler, make_view
from search.scheduling.allocation import ASKED_FOR, Allocation, Turn
from search.scheduling.constraints import Examine
from search.scheduling.ending import Ending
from search.scheduling.enqueued import begin
from search.scheduling.repeats import Repeats
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.seeds import derive_seed
from search.storage.trials import INFEASIBLE, STOP_EPOCH, is_infeasible, is_repeat
from spaces.asking import Suggest
from spaces.guarded import CodeError
from spaces.space import Space

NEVER_STOPS = "asha", "none"
"""Pruners that stop no trial for good: asha pauses trials, none trains them to the end."""
MAX_INFEASIBLE_DRAWS = 1000
"""Configurations in a row that may exceed the bounds before the search ends with an error."""


class Proposals:
    """Proposes the trials of a study, and decides which of them are worth more epochs.

    Trials that another program added to the study are not used for learning, because they have no values at the rungs.
    Trials that it enqueued are begun before any new configuration.
    """

    def __init__(self, ledger: Ledger, run: Run, *, price: Price | None = None) -> None:
        """
        Args:
            price: the cost of a configuration, if the run has a second objective that is known before training.
        """
        self.ledger, self._run = ledger, run
        self._view = make_view(run)
        self._encodings = make_encodings()
        ledger.study.pruner = make_pruner(run)
        compared = [trial for trial in ledger.own_trials if not is_repeat(trial)]
        self.rungs = make_rungs(compared, run, find=ledger.trial)
        """The values at the rungs, kept up to date by `on_epoch` and `on_failure`; repeats are not compared."""
        self._allocation = Allocation(run, ledger)
        self._of_level = {
            turn: make_rungs([trial for trial in ledger.own_trials if turn.has(trial)], run, find=ledger.trial)
            for turn in self._allocation.turns
        }
        """The same for the trials of each level of a question."""
        self._curves = CurvesSampler(ledger, self.rungs, run, price=price)
        self.ending = Ending(
            ledger, run, rungs=self.rungs, of_level=self._of_level, allocation=self._allocation, curves=self._curves
        )
        """Promotes when no new trial may begin."""
        self.repeats = Repeats(ledger, run)
        """Begins trials when nothing else is left to train."""
        self._given_up = self._allocation.given_up()
        self._has_told_all = False
        self._infeasible: list[int] = []
        self._num_noted = 0

    def planned(self, space: Space, examine: Examine) -> int:
        """Store the next configuration of the run's plan as a running trial and return its number."""
        planned = self._run.plan[len(self.ledger.made)]
        attrs = dict(examine(space.decode(planned.params)).attrs)
        if planned.seed is not None:
            attrs["seed"] = planned.seed
        if planned.tag:
            attrs["tag"] = planned.tag
        if planned.stop_epoch is not None:
            attrs[STOP_EPOCH] = planned.stop_epoch
        if planned.question:
            attrs[ASKED_FOR] = planned.question
        return self.ledger.add(planned.params, space.distributions(planned.params), **attrs)

    def sample(self, suggest: Suggest, examine: Examine, *, live: Collection[int]) -> int | None:
        """Sample the next configuration, and store it as a running trial.

        Args:
            live: numbers of the trials that have a worker.

        Returns:
            The trial's number, or None when the configuration is infeasible: it is stored as PRUNED with its excess, so
            that the sampler learns from it, and is never trained.

        Raises:
            ValueError: `suggest` failed or returned a configuration that cannot be built; the line has the parameters.
        """
        number, study = self.ledger.num_stored, self.ledger.study
        seed = derive_seed(self._run.seed, number)
        turn = self._turn(live)
        with self.ledger.showing(self._seen(live, turn)):
            study.sampler = self._sampler(suggest, number, seed, live, turn)
            trial = study.ask()
            try:
                examination = examine(suggest(trial))
            except Exception as error:
                said = f"{error}" if isinstance(error, CodeError) else f"{type(error).__name__}: {error}"
                raise ValueError(
                    f"space {self._run.space!r} fails on trial {number} with {trial.params}: {said.splitlines()[0]}"
                ) from error
        for name, excess in examination.excess.items():
            trial.set_constraint(name, excess)
        asked_for = {} if turn is None else {ASKED_FOR: turn.question.parameter}
        for name, value in {"seed": seed, **asked_for, **examination.attrs}.items():
            trial.set_user_attr(name, value)
        if not examination.infeasible:
            self.ledger.store(number)
            return number
        trial.set_user_attr(INFEASIBLE, examination.infeasible)
        self.ledger.store(number, state=TrialState.PRUNED)
        return None

    def new(self, space: Space, examine: Examine, *, live: Collection[int]) -> int | None:
        """Sample the next configuration that can be trained, and return the number of its trial; None without any.

        Raises:
            ValueError: no configuration can be trained.
        """
        for _ in range(MAX_INFEASIBLE_DRAWS):
            if (number := self.sample(space.suggest, examine, live=live)) is not None:
                return number
            if self.exhausted(space.suggest):
                return None
        broken = f"{MAX_INFEASIBLE_DRAWS} sampled configurations in a row exceed --max-weights or --max-macs"
        raise ValueError(f"{broken}; raise the limits, or restrict the space")

    def begin_waiting(
        self, space: Space, examine: Examine, *, live: Collection[int], say: Callable[[str], None]
    ) -> int | None:
        """Begin the next trial that another program has enqueued and that can be trained; None if there is none.

        Args:
            say: called with a note on each trial that differs from what was enqueued, or is refused.
        """
        while self.ledger.waiting:
            number, said = self.take_up(space.suggest, examine, live=live)
            if said:
                say(said)
            if self.ledger.trial(number).state == TrialState.RUNNING:
                return number
        return None

    def take_up(self, suggest: Suggest, examine: Examine, *, live: Collection[int]) -> tuple[int, str]:
        """Begin the trial that has waited longest; parameters that it does not fix are sampled.

        Returns:
            The trial's number, and a note for the user, which may be empty. The trial is RUNNING; or FAIL, if it fixes
            a value that the space does not have; or PRUNED, if it exceeds a bound.
        """
        number, study = self.ledger.waiting[0], self.ledger.study
        seed = derive_seed(self._run.seed, number)
        before = copy.deepcopy(self.ledger.trial(number))
        with self.ledger.showing(self._seen(live, None)):
            study.sampler = self._sampler(suggest, number, seed, live, None)
            said = begin(study, number, suggest=suggest, examine=examine, run=self._run)
        self.ledger.take_up(number, before=before)
        self._note(self.ledger.trial(number))
        return number, said

    def _turn(self, live: Collection[int]) -> Turn | None:
        """The level for which the next slot is used; None without questions."""
        return self._allocation.order(live)[0][1] if self._allocation.turns else None

    def exhausted(self, suggest: Suggest) -> bool:
        """Whether no configuration is left to try; the default sampler repeats one only to answer a question."""
        run = self._run
        if run.sampler != "curves" or run.questions or len(self.ledger.made) < len(run.plan):
            return False
        self._catch_up()
        left = self._curves.listed.left(suggest, tried=self._curves.tried, held=self._allocation.held(None))
        return left == [] and not all(is_infeasible(trial) for trial in self.ledger.own_trials)

    def news(self, suggest: Suggest) -> list[str]:
        """A line for each level of a question that has been given up since the last call; and once, that the space has
        no further configuration."""
        found = [turn for turn in self._allocation.given_up() if turn not in self._given_up]
        self._given_up += found
        lines = [
            f"configurations with {turn.question.parameter} = {turn.level} fail or exceed a limit; the other values get"
            f" the rest of the search"
            for turn in found
        ]
        if not self._has_told_all and self.ledger.num_asked < self._run.trials and self.exhausted(suggest):
            self._has_told_all = True
            lines.append("every configuration of the space has been tried, so no new trial begins")
        return lines

    def _seen(self, live: Collection[int], turn: Turn | None) -> list[FrozenTrial]:
        """The trials as the sampler sees them."""
        self._catch_up()
        known = Known(rungs=self.rungs, infeasible=self._infeasible)
        if turn is not None:
            name = turn.question.parameter
            known = replace(known, level=lambda number: self.ledger.trial(number).params.get(name))
        return self._view(self.ledger.trials, live, known)

    def _sampler(
        self, suggest: Suggest, number: int, seed: int, live: Collection[int], turn: Turn | None
    ) -> BaseSampler:
        held = self._allocation.held(turn)
        if self._run.sampler == "curves":
            chosen = self._curves.configuration(suggest, number=number, live=live, aim=self._aim(turn))
            return Chosen({**held, **chosen}, seed=seed)
        sampler = make_sampler(self._run.sampler, seed=self._run.seed, trial_seed=seed, encodings=self._encodings)
        return Held(sampler, held) if held else sampler

    def _aim(self, turn: Turn | None) -> Aim:
        held = tuple(self._allocation.held(turn).items())
        if turn is None:
            return Aim(held=held)
        return Aim(held=held, rivals=frozenset(t.number for t in self.ledger.own_trials if turn.has(t)))

    def promotion(self, suggest: Suggest, paused: Collection[int], *, live: Collection[int]) -> int | None:
        """The number of the paused trial to continue, or None when a new configuration is the better use of a slot.

        Args:
            live: numbers of the trials that have a worker, without those in `paused`.
        """
        self._catch_up()
        number, turn = self.ledger.num_stored, self._turn(live)
        if turn is None:
            return self._curves.promotion(suggest, paused, number=number, live=live, aim=self._aim(None))
        here, rungs = [n for n in paused if turn.has(self.ledger.trial(n))], self._of_level[turn]
        return self._curves.promotion(suggest, here, number=number, live=live, aim=self._aim(turn), rungs=rungs)

    def gain(self, suggest: Suggest, *, epochs: int) -> float | None:
        """By how much so many more epochs are expected to improve the best value; None where that is not known."""
        if self._run.questions:
            return None
        self._catch_up()
        return self._curves.gain(suggest, number=self.ledger.num_stored, epochs=epochs, aim=self._aim(None))

    def should_prune(self, number: int) -> bool:
        """Whether the run's pruner stops this trial now."""
        study, trial = self.ledger.study, self.ledger.trial(number)
        if self._run.pruner in NEVER_STOPS or is_repeat(trial):
            return False
        with self.ledger.showing([one for one in self.ledger.trials if not is_repeat(one)]):
            return study.pruner.prune(study, trial)

    def on_epoch(self, number: int, *, epoch: int, value: float) -> None:
        """Note a new epoch in the ledger."""
        if epoch in self._run.rungs:
            compared = (self.rungs, *(self._of_level[turn] for turn in self._turns_of(number)))
            for rungs in () if is_repeat(self.ledger.trial(number)) else compared:
                rungs.add(number, rung=epoch, value=value)
            self._curves.forget()

    def on_failure(self, number: int) -> None:
        """Forget the values of a trial that has failed."""
        for rungs in (self.rungs, *self._of_level.values()):
            rungs.remove(number)
        self._curves.forget()

    def _turns_of(self, number: int) -> list[Turn]:
        """The levels that a trial counts for."""
        return [turn for turn in self._of_level if turn.has(self.ledger.trial(number))]

    def _catch_up(self) -> None:
        """Note the trials that were added to the ledger since the last call, by this search or by other programs."""
        for number in range(self._num_noted, self.ledger.num_stored):
            self._note(self.ledger.trial(number))
        self._num_noted = self.ledger.num_stored

    def _note(self, trial: FrozenTrial) -> None:
        if is_infeasible(trial):
            insort(self._infeasible, trial.number)
            self._curves.forget()
        self._curves.tried.add(identity(trial.params))
