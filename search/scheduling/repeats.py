"""Trains the leading configuration again on other seeds, so that no lucky training wins the search.

With --repeats N, once nothing else is left to train, the leading trial is repeated until its configuration has been
trained N times. If its mean falls behind, the next leader is trained again, and so on: the search ends when the
configuration with the best mean has N trainings. Everything depends only on the study.
"""

from collections.abc import Collection

from search.scheduling.constraints import Examine
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.standings import Standing, Standings
from search.storage.trials import REPEATS, is_repeat
from spaces.space import Space


class Repeats:
    """The trials that train a configuration again."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._ledger, self._run = ledger, run

    def begin(self, space: Space, examine: Examine, *, live: Collection[int]) -> set[int]:
        """Store a trial that repeats the leading one, and return its number; none while others are still trained, and
        once the leader has been trained often enough.

        Args:
            live: numbers of the trials that have a worker.
        """
        if self._run.repeats < 2 or not all(is_repeat(self._ledger.trial(number)) for number in live):
            return set()
        leader = Standings(self._run.objective, self._ledger.own_trials).best
        if leader is None or self._num_begun(leader) >= self._run.repeats:
            return set()
        first = leader.trial
        known = dict(examine(space.decode(first.params)).attrs)
        attrs = {"tag": f"repeat-{first.number}", REPEATS: first.number, **known}
        return {self._ledger.add(first.params, first.distributions, **attrs)}

    def _num_begun(self, leader: Standing) -> int:
        """How often its configuration has been trained, or is being trained; a failed training counts."""
        number = leader.trial.number
        return 1 + sum(trial.user_attrs.get(REPEATS) == number for trial in self._ledger.own_trials)
