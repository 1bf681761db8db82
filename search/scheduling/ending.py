"""Decides which paused trials continue when no new trial may begin.

- The sampler `curves` trains the most promising trials to the end, until one in `reduction_factor` has been, and the
  most promising of all in any case. Trials that a person asked for do not count: they are trained to the end anyway.
- Any other sampler continues the best of each rung, and the best of all in any case.
- With two objectives, what no other trial dominates at its rung continues first.
- With questions, the best of each rung of each level continue, then the best trials of a level while it is behind
  another level.

Everything depends only on the study and on which trials have a worker.
"""

from collections.abc import Collection, Mapping

from optuna.trial import TrialState

from search.algorithms.curves import CurvesSampler
from search.algorithms.front_rungs import AnyRungs, FrontRungs
from search.scheduling.allocation import Allocation, Turn
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.trials import epochs_reached


class Ending:
    """The last promotions of a search."""

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        *,
        rungs: AnyRungs,
        of_level: Mapping[Turn, AnyRungs],
        allocation: Allocation,
        curves: CurvesSampler,
    ) -> None:
        """
        Args:
            rungs: the values of all trials at the rungs, which the caller keeps up to date.
            of_level: the same for the trials of each level of a question.
        """
        self._ledger, self._run, self._curves = ledger, run, curves
        self._rungs, self._of_level, self._allocation = rungs, of_level, allocation

    def promotion(self, paused: Collection[int], *, live: Collection[int], is_over: bool) -> int | None:
        """The paused trial to continue; None when none should.

        Args:
            paused: numbers of the trials that wait at a rung.
            live: numbers of the trials that have a worker, without those in `paused`.
            is_over: whether nothing else runs.
        """
        if self._run.questions:
            return self._of_levels(paused, live=live, is_over=is_over)
        if self._run.sampler == "curves" and self._run.second is None:
            return self._curves.finisher(paused, live=live, leader=self._has_enough(live))
        promoted = self._rungs.undominated(paused) if isinstance(self._rungs, FrontRungs) else None
        promoted = self._rungs.promotion(paused) if promoted is None else promoted
        if promoted is not None or not is_over:
            return promoted
        best = next((number for number in self._rungs.pooled()[:1] if number in paused), None)
        return best if best is not None or self._num_finished else self._rungs.leader(paused)

    @property
    def _num_finished(self) -> int:
        return sum(trial.state == TrialState.COMPLETE for trial in self._ledger.own_trials)

    def _has_enough(self, live: Collection[int]) -> bool:
        """Whether enough trials have been trained to the end, or are on the way to it from the last rung before."""
        *_, last_pause, _ = (0, *self._run.rungs)
        ranked = [self._ledger.trial(number) for number in self._rungs.pooled()]
        compared = [trial for trial in ranked if not self._ledger.is_asked_for(trial)]
        finished = sum(trial.state == TrialState.COMPLETE for trial in compared)
        ending = sum(trial.number in live and epochs_reached(trial) >= last_pause for trial in compared)
        return (finished + ending) * self._run.reduction_factor >= len(compared)

    def _of_levels(self, paused: Collection[int], *, live: Collection[int], is_over: bool) -> int | None:
        order = self._allocation.order(live)
        waiting = {turn: [n for n in paused if turn.has(self._ledger.trial(n))] for _, turn in order}
        for spent, turn in order:
            here, rungs = waiting[turn], self._of_level[turn]
            promoted, leader = rungs.promotion(here), rungs.leader(here)
            if promoted is not None:
                return promoted
            most = max(share for share, other in order if other.question == turn.question)
            if leader is not None and spent + self._step(leader) * len(turn.question.levels) <= most:
                return leader
        unfinished = [turn for _, turn in order if is_over and not self._allocation.finished(turn)]
        leaders = (self._of_level[turn].leader(waiting[turn]) for turn in unfinished)
        return next((leader for leader in leaders if leader is not None), None)

    def _step(self, number: int) -> int:
        """Number of epochs until the trial is compared next."""
        trial = self._ledger.trial(number)
        return self._allocation.next_rung(trial) - epochs_reached(trial)
