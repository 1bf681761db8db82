"""The sampler `curves`: a Gaussian process of all learning curves decides how a free slot is used.

Everything depends only on the study, the seeds and which trials have a worker.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from optuna.trial import TrialState

from search.algorithms.candidates import NUM_MOVED, NUM_PARENTS, Candidates, Identity, Listed, first
from search.algorithms.front import Price
from search.algorithms.front_rungs import AnyRungs
from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.seeds import derive_seed
from search.storage.standings import Standings
from search.storage.trials import epochs_reached
from spaces.asking import Suggest
from spaces.objectives import metric_named
from spaces.priors import Priors
from spaces.ranges import current

if TYPE_CHECKING:
    from search.algorithms.gaussian_process import Surrogate, Tried
    from search.algorithms.tradeoff import Tradeoff

MAX_WEIGHED = 100
"""Most paused trials, the best ones, that are compared with new configurations."""
FIRST_OF_LEVEL = 5
"""Trials of each level of a question before the process is fitted."""
_LEAST_GAIN = 1e-3
"""For less, in units of the score for each epoch, the last few configurations of a space are begun first."""


class _Decision(NamedTuple):
    situation: tuple[int, frozenset[int], frozenset[int]]
    """Number of the next trial, trials with a worker, paused trials."""
    aim: "Aim"
    promoted: int | None
    configuration: dict[str, Any]
    """Parameters of the next trial, if a new one begins."""


class Aim(NamedTuple):
    """What a slot is used for: the whole space, or the part of it in which some parameters have given values."""

    held: tuple[tuple[str, Any], ...] = ()
    """Parameters of a new configuration whose values are given."""
    rivals: frozenset[int] | None = None
    """Numbers of the trials whose best is to be exceeded; None for all."""


ANYWHERE = Aim()


class CurvesSampler:
    """Chooses configurations and promotions from the trials of a ledger."""

    def __init__(self, ledger: Ledger, rungs: AnyRungs, run: Run, *, price: Price | None = None) -> None:
        """
        Args:
            rungs: the values of the ledger's trials at the rungs; the caller keeps them up to date.
            price: the cost of a configuration, if the run has a second objective that is known before training.
        """
        self._ledger, self._rungs, self._price = ledger, rungs, price
        self._run, self._priors = run, Priors(run.priors)
        self.tried: set[Identity] = set()
        """Configurations that are not new."""
        self._surrogate: Surrogate | Tradeoff | None = None
        self._is_fitted = False
        self.listed = Listed()
        self._candidates: Candidates | None = None
        self._decision: _Decision | None = None
        self._gains: dict[tuple[Any, ...], float | None] = {}
        """The last decision, and the gains that have been asked for, as long as nothing new is known."""

    def forget(self) -> None:
        """Fit again before the next decision: the ledger has new values, or a trial has failed."""
        self._is_fitted = False

    def configuration(
        self, suggest: Suggest, *, number: int, live: Collection[int], aim: Aim = ANYWHERE
    ) -> dict[str, Any]:
        """The parameters of the next trial, which gets this number; empty if the space has nothing new, or fails.

        Args:
            live: numbers of the trials that have a worker.
        """
        if self._fit() is None:
            seeds = {"seed": self._run.seed, "trial_seed": derive_seed(self._run.seed, number)}
            return first(suggest, self._priors, self.tried, self.listed, number=number, held=dict(aim.held), **seeds)
        known = self._decision
        if known is None or known.situation[:2] != (number, frozenset(live)) or known.aim != aim:
            known = self._decide(suggest, (), number=number, live=live, aim=aim)
        return known.configuration

    def promotion(
        self,
        suggest: Suggest,
        paused: Collection[int],
        *,
        number: int,
        live: Collection[int],
        aim: Aim = ANYWHERE,
        rungs: AnyRungs | None = None,
    ) -> int | None:
        """The paused trial to continue, or None when a new configuration is the better use of a slot.

        What is learnt about which configuration is best decides, divided by the epochs to the rung at which it is
        learnt; with questions or a second objective the expected improvement at the full budget, divided by the epochs
        to go. Before there are enough trials to fit the process, the best of each rung continue.

        Args:
            suggest: that of the space.
            paused: numbers of the trials that wait at a rung.
            number: number of the next trial.
            live: numbers of the trials that have a worker, without those in `paused`.
            aim: what the slot is used for.
            rungs: the values with which `paused` are compared before the process is fitted; those of all trials when
                None.
        """
        if self._fit() is None:
            return (rungs or self._rungs).promotion(paused)
        if not paused:
            return None
        known, situation = self._decision, (number, frozenset(live), frozenset(paused))
        if known is None or known.situation != situation or known.aim != aim:
            known = self._decide(suggest, paused, number=number, live=live, aim=aim)
        return known.promoted

    @property
    def _seeks_best(self) -> bool:
        """Whether one best configuration is sought, not the best of each value or a front."""
        return self._run.second is None and not self._run.questions

    def finisher(self, paused: Collection[int], *, live: Collection[int], leader: bool) -> int | None:
        """The paused trial of which most improvement is expected for each epoch to go; None if none waits.

        Before there are enough trials to fit the process, it is the best one at the rungs.

        Args:
            leader: only the most promising of all trials counts, and the best one at the rungs, if it waits.
        """
        weighed, surrogate = self._weighed(paused), self._fit()
        if leader or surrogate is None:
            order = self._rungs.pooled()[: 1 if leader else None]
            order = [*(trial.number for trial in surrogate.most_promising(1)), *order] if surrogate else order
            return next((number for number in order if number in paused), None)
        if not weighed:
            return None
        gains = self._improvement(surrogate, self._as_tried(weighed), self._as_tried(sorted(live)), ANYWHERE)
        return weighed[int(gains.argmax())]

    def gain(self, suggest: Suggest, *, number: int, epochs: int, aim: Aim) -> float | None:
        """By how much so many more epochs are expected to improve the best value; None where that is not known.

        It depends only on the study, and not on which trials have a worker.

        Args:
            suggest: that of the space.
            number: number of the next trial.
            epochs: to be trained.
            aim: of new trials.

        Returns:
            At least 0, in the unit of the metric.
        """
        if self._run.second is not None or (surrogate := self._fit()) is None:
            return None
        surrogate = cast("Surrogate", surrogate)
        begun = [n for n in self._rungs.pooled() if self._ledger.trial(n).state == TrialState.RUNNING]
        open_trials = [n for n in begun if self._to_go(n)][:MAX_WEIGHED]  # one may be about to end
        finished = self._finished()
        key = number, epochs, aim, tuple(open_trials), len(finished)
        if key not in self._gains:
            from search.algorithms.gain import expected_gain  # imports SciPy

            new = self._new(suggest, surrogate, number=number, aim=aim)
            asked = [*self._as_tried(open_trials), *((params, -1 - place) for place, params in enumerate(new))]
            to_go = [*map(self._to_go, open_trials), *(self._run.epochs for _ in new)]
            self._gains[key] = expected_gain(surrogate, asked, to_go, finished, epochs=epochs)
        found, room = self._gains[key], self._room(finished)
        if room == 0.0:
            return 0.0
        return found if found is None or room is None else min(found, room)

    def _room(self, finished: Mapping[int, float]) -> float | None:
        """By how much the best value can be improved at most; None where that is not known.

        Args:
            finished: as `_finished` returns them.
        """
        metric, objective = metric_named(self._run.metric), self._run.objective
        if not finished or metric.limit is None or objective.maximize == metric.less_is_better:
            return None
        room = objective.sign * metric.limit - max(finished.values())
        return room if room >= 0.0 else None  # a metric of the user's own may have this name and be in percent

    def _to_go(self, number: int) -> int:
        """Epochs of a trial from the last rung that it has reached to the full budget."""
        reached = epochs_reached(self._ledger.trial(number))
        return self._run.epochs - max(rung for rung in self._run.rungs if rung <= reached)

    def _finished(self) -> dict[int, float]:
        """The values of the finished trials by number, signed so that larger is better."""
        standings = Standings(self._run.objective, self._ledger.own_trials)
        return {one.trial.number: self._run.objective.sign * one.value for one in standings.all}

    def _decide(
        self, suggest: Suggest, paused: Collection[int], *, number: int, live: Collection[int], aim: Aim
    ) -> _Decision:
        surrogate, weighed = cast("Surrogate", self._fit()), self._weighed(paused)
        new = self._new(suggest, surrogate, number=number, aim=aim)
        asked = [*self._as_tried(weighed), *((params, -1 - place) for place, params in enumerate(new))]
        promoted, configuration = None, {}
        if asked:
            running = self._as_tried(sorted(live))
            gains = (self._knowledge if self._seeks_best else self._improvement)(surrogate, asked, running, aim)
            last = self._seeks_best and self.listed.are_last(suggest, tried=self.tried)
            if new and last and gains.max() < _LEAST_GAIN:
                gains[: len(weighed)] = -np.inf
            best = int(gains.argmax())
            promoted = weighed[best] if best < len(weighed) else None
            configuration = new[int(gains[len(weighed) :].argmax())] if new else {}
        self._decision = _Decision((number, frozenset(live), frozenset(paused)), aim, promoted, configuration)
        return self._decision

    def _weighed(self, paused: Collection[int]) -> list[int]:
        return [n for n in self._rungs.pooled() if n in paused][:MAX_WEIGHED] if paused else []

    def _knowledge(
        self, surrogate: "Surrogate | Tradeoff", asked: "Sequence[Tried]", running: "Sequence[Tried]", _: Aim
    ) -> np.ndarray:
        """What each teaches, (N,), for each epoch to the rung at which that is most."""
        ahead = np.array(self._run.rungs) - self._reached(asked)[:, None]
        gains = cast("Surrogate", surrogate).knowledge_gain(asked, self._run.rungs, running)
        return np.where(ahead > 0, gains / np.maximum(ahead, 1), 0.0).max(axis=1)

    def _improvement(
        self, surrogate: "Surrogate | Tradeoff", asked: "Sequence[Tried]", running: "Sequence[Tried]", aim: Aim
    ) -> np.ndarray:
        """The improvement that is expected of each, (N,), for each epoch to the end."""
        return surrogate.improvement(asked, running, over=aim.rivals) / (self._run.epochs - self._reached(asked))

    def _reached(self, asked: "Sequence[Tried]") -> np.ndarray:
        """The epochs that each has been trained for, (N,)."""
        return np.array([epochs_reached(self._ledger.trial(number)) if number >= 0 else 0 for _, number in asked])

    def _new(
        self, suggest: Suggest, surrogate: "Surrogate | Tradeoff", *, number: int, aim: Aim
    ) -> list[dict[str, Any]]:
        """Configurations that are not tried yet."""
        parents = surrogate.most_promising(NUM_PARENTS)
        if aim.rivals is not None:  # the best trials of other levels are good starting points as well
            parents = [*surrogate.most_promising(NUM_PARENTS, among=aim.rivals), *parents]
            parents = list({parent.number: parent for parent in parents}.values())
        if self._candidates is None:
            seed, num_moved = derive_seed(self._run.seed, -1), NUM_MOVED * self._seeks_best
            self._candidates = Candidates(suggest, seed=seed, priors=self._priors, num_moved=num_moved)
        space: dict[str, Any] = {"tried": self.tried, "held": dict(aim.held)}
        return self._candidates.new(parents, number=number, **space) or self.listed.left(suggest, **space) or []

    def _as_tried(self, numbers: Sequence[int]) -> "list[Tried]":
        return [(self._ledger.trial(number).params, number) for number in numbers]

    def _fit(self) -> "Surrogate | Tradeoff | None":
        """The process fitted to all trials of the ledger; None while too few have reached the first rung."""
        if not self._is_fitted:
            least = max(NUM_STARTUP_TRIALS, *(FIRST_OF_LEVEL * len(q.levels) for q in self._run.questions), 0)
            enough = self._run.sampler == "curves" and self._rungs.num_ranked >= least
            self._surrogate = self._fitted(self._surrogate) if enough else None
            self._decision, self._gains, self._is_fitted = None, {}, True
        return self._surrogate

    def _fitted(self, before: "Surrogate | Tradeoff | None") -> "Surrogate | Tradeoff":
        from search.algorithms.gaussian_process import Surrogate  # SciPy, which other samplers need not wait for

        run, trials = self._run, self._ledger.own_trials
        compared = before.configurations if before else None
        has_errors = run.folds > 1  # means over folds have a standard error
        if run.second is not None:
            from search.algorithms.tradeoff import Tradeoff

            return Tradeoff(trials, run, has_errors=has_errors, price=self._price, compared=compared)
        metric = run.metric if has_errors else ""
        shared: dict[str, Any] = {"ranges": current(run.ranges, run.replaced), "compared": compared}
        return Surrogate(trials, rungs=run.rungs, maximize=run.objective.maximize, metric=metric, **shared)
