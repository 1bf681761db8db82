"""Which configurations of each level of a question are worth training again."""

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.scheduling.allocation import Turn
from search.storage.run import Question
from search.storage.trials import epochs_reached
from spaces.objectives import Objective


def leaders(
    trials: Sequence[FrozenTrial], question: Question, level: Any, *, objective: Objective, count: int
) -> list[FrozenTrial]:
    """The best trials of a level with different configurations: those trained longest first, then by their last value.

    Args:
        count: at most so many.
    """
    turn = Turn(question=question, level=level)
    known = [t for t in trials if turn.has(t) and t.state != TrialState.FAIL and t.intermediate_values]
    known.sort(key=lambda t: (-epochs_reached(t), -objective.sign * t.intermediate_values[epochs_reached(t)], t.number))
    different: dict[Any, FrozenTrial] = {}
    for trial in known:
        different.setdefault(frozenset(trial.params.items()), trial)
    return list(different.values())[:count]
