"""What is tried next: planned, enqueued and drawn configurations, and paused trials that go on.

What is proposed depends on the study, the seeds and the trials that have a worker alone: a resumed search proposes what
the undisturbed one would have.
"""

import copy
from bisect import insort
from collections.abc import Callable, Collection
from typing import Any

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search.algorithms.candidates import Chosen, identity
from search.algorithms.curves import CurvesSampler
from search.algorithms.halving import Rungs
from search.algorithms.optuna_samplers import Known, make_encodings, make_pruner, make_sampler, make_view
from search.scheduling.enqueued import begin
from search.scheduling.examination import Examination
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.seeds import derive_seed
from spaces.space import Space

Suggest = Callable[[Trial], Any]
Examine = Callable[[Any], Examination]


class Proposals:
    """Proposes the trials of a study, and says which of them are worth more epochs.

    From a trial that another program has put there nothing is learnt: it has no rungs. What such a program has enqueued
    is taken up before any new configuration.
    """

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self.ledger, self._run = ledger, run
        self._view = make_view(run)
        self._encodings = make_encodings()
        ledger.study.pruner = make_pruner(run)
        self.rungs = Rungs(
            ledger.own_trials,
            rungs=run.rungs,
            reduction_factor=run.reduction_factor,
            maximize=run.objective.maximize,
        )
        """The values at the rungs, kept up to date by `on_epoch` and `on_failure`."""
        self._curves = CurvesSampler(ledger, self.rungs, run)
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
        return self.ledger.add(planned.params, space.distributions(planned.params), **attrs)

    def sample(self, suggest: Suggest, examine: Examine, *, live: Collection[int]) -> int | None:
        """Draw the next configuration and store it as a running trial.

        Args:
            live: numbers of the trials that have a worker.

        Returns:
            The trial's number, or None when the draw is infeasible: it is stored PRUNED with its constraint, so that
            the sampler learns from it, and is never trained.

        Raises:
            ValueError: `suggest` failed or gave a configuration that cannot be built; the line has the parameters.
        """
        number, study = self.ledger.num_stored, self.ledger.study
        seed = derive_seed(self._run.seed, number)
        with self.ledger.showing(self._seen(live)):
            study.sampler = self._sampler(suggest, number, seed, live)
            trial = study.ask()
            try:
                examination = examine(suggest(trial))
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise ValueError(
                    f"space {self._run.space!r} fails on trial {number} with {trial.params}: {reason}"
                ) from error
        for name, excess in examination.excess.items():
            trial.set_constraint(name, excess)
        for name, value in {"seed": seed, **examination.attrs}.items():
            trial.set_user_attr(name, value)
        if not examination.infeasible:
            self.ledger.store(number)
            return number
        trial.set_user_attr("infeasible", examination.infeasible)
        self.ledger.store(number, state=TrialState.PRUNED)
        return None

    def take_up(self, suggest: Suggest, examine: Examine, *, live: Collection[int]) -> tuple[int, str]:
        """Begin the trial that has waited longest; what its configuration lacks is sampled.

        Returns:
            The trial's number, and what is to be said of it, if anything. It is RUNNING; or FAIL, with a value that the
            space does not have; or PRUNED, where it exceeds a bound.
        """
        number, study = self.ledger.waiting[0], self.ledger.study
        seed = derive_seed(self._run.seed, number)
        before = copy.deepcopy(self.ledger.trial(number))
        with self.ledger.showing(self._seen(live)):
            study.sampler = self._sampler(suggest, number, seed, live)
            said = begin(study, number, suggest=suggest, examine=examine, seed=seed)
        self.ledger.take_up(number, before=before)
        self._note(self.ledger.trial(number))
        return number, said

    def _seen(self, live: Collection[int]) -> list[FrozenTrial]:
        """What the sampler sees of the study."""
        self._catch_up()
        return self._view(self.ledger.trials, live, Known(rungs=self.rungs, infeasible=self._infeasible))

    def _sampler(self, suggest: Suggest, number: int, seed: int, live: Collection[int]) -> BaseSampler:
        if self._run.sampler == "curves":
            return Chosen(self._curves.configuration(suggest, number=number, live=live), seed=seed)
        return make_sampler(self._run.sampler, seed=self._run.seed, trial_seed=seed, encodings=self._encodings)

    def promotion(self, suggest: Suggest, paused: Collection[int], *, live: Collection[int]) -> int | None:
        """The number of the paused trial to continue, or None when a new configuration is the better use of a slot.

        Args:
            live: numbers of the trials that have a worker, but for one of `paused`.
        """
        self._catch_up()
        return self._curves.promotion(suggest, paused, number=self.ledger.num_stored, live=live)

    def should_prune(self, number: int) -> bool:
        """What the run's pruner says of this trial now."""
        study = self.ledger.study
        return study.pruner.prune(study, self.ledger.trial(number))

    def on_epoch(self, number: int, *, epoch: int, value: float) -> None:
        """The ledger holds an epoch that it did not hold before."""
        if epoch in self._run.rungs:
            self.rungs.add(number, rung=epoch, value=value)
            self._curves.forget()

    def on_failure(self, number: int) -> None:
        """A trial has failed: what it reported counts no more."""
        self.rungs.remove(number)
        self._curves.forget()

    def _catch_up(self) -> None:
        """Note the trials that have come into the ledger since, from whatever source."""
        for number in range(self._num_noted, self.ledger.num_stored):
            self._note(self.ledger.trial(number))
        self._num_noted = self.ledger.num_stored

    def _note(self, trial: FrozenTrial) -> None:
        if "infeasible" in trial.user_attrs:
            insort(self._infeasible, trial.number)
            self._curves.forget()
        self._curves.tried.add(identity(trial.params))
