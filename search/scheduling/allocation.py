"""Divides the epochs of a search equally among the levels of its questions.

Every level of a question gets equally many epochs, and every question as many as the others: the next slot goes to the
level that is furthest behind. A trial that is begun for one question counts only for that question; its other
parameters, also those of other questions, are chosen to be best. A level of which nothing can be trained is given up,
and the other levels get its share. Everything depends only on the study and on which trials have a worker.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.storage.ledger import Ledger
from search.storage.run import Question, Run
from search.storage.trials import epochs_reached, is_enqueued, is_infeasible
from spaces.levels import same

ASKED_FOR = "question"
"""User attribute of a trial: the parameter of the question for which it was begun."""
MAX_FAILURES, MAX_EXCESSIVE = 5, 300
"""A level is given up after this many failed trials if none has finished an epoch, or after this many configurations in
a row that exceed a bound."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The level of a question for which a slot is used next."""

    question: Question
    level: Any

    def has(self, trial: FrozenTrial) -> bool:
        """Whether the trial counts for this level: it has it, and was not begun for another question."""
        return is_for(self.question, trial) and same(trial.params[self.question.parameter], self.level)


def is_for(question: Question, trial: FrozenTrial) -> bool:
    """Whether the trial has the parameter of the question, and was not begun for another one.

    An enqueued trial that was refused says nothing of the values that it has.
    """
    if is_enqueued(trial) and trial.user_attrs.get("failure_kind") == "invalid":
        return False
    return question.parameter in trial.params and trial.user_attrs.get(ASKED_FOR, question.parameter) == (
        question.parameter
    )


class Allocation:
    """Decides for which level the next slot is used."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self._run, self._ledger = run, ledger
        self.turns = [Turn(question=q, level=level) for q in run.questions for level in q.levels]

    def given_up(self) -> list[Turn]:
        """The levels of which nothing can be trained, as far as is known."""
        return [turn for turn in self.turns if self._is_hopeless(turn)]

    def _is_hopeless(self, turn: Turn) -> bool:
        mine = [trial for trial in self._ledger.own_trials if turn.has(trial)]
        last = mine[-MAX_EXCESSIVE:]
        if len(last) == MAX_EXCESSIVE and all(is_infeasible(trial) for trial in last):
            return True
        failed = sum(trial.state == TrialState.FAIL for trial in mine)
        return failed >= MAX_FAILURES and not any(trial.intermediate_values for trial in mine)

    def order(self, live: Collection[int]) -> list[tuple[float, Turn]]:
        """The levels with their epochs, relative to an equal share; the one that is furthest behind first.

        Levels that are given up are left out, unless all are.

        Args:
            live: numbers of the trials that have a worker; their epochs count up to the next comparison.
        """
        trials = self._ledger.own_trials
        hopeless = self.given_up()
        turns = [turn for turn in self.turns if turn not in hopeless] or self.turns
        spent = [(self._spent(turn, trials, live) * len(turn.question.levels), turn) for turn in turns]
        return sorted(spent, key=lambda each: each[0])

    def _spent(self, turn: Turn, trials: Collection[FrozenTrial], live: Collection[int]) -> int:
        return sum(self._epochs(trial, live) for trial in trials if turn.has(trial))

    def _epochs(self, trial: FrozenTrial, live: Collection[int]) -> int:
        reached = epochs_reached(trial)
        if trial.state == TrialState.FAIL:  # the level has had its chance, or failures would get every slot
            return self.next_rung(trial)
        if trial.number not in live or trial.state.is_finished():
            return reached
        return self.next_rung(trial) if self._pauses(trial) else self._run.epochs

    def _pauses(self, trial: FrozenTrial) -> bool:
        return self._run.pruner == "asha" and not self._ledger.is_asked_for(trial)

    def next_rung(self, trial: FrozenTrial) -> int:
        """The epoch at which a trial that continues is compared next."""
        reached = epochs_reached(trial)
        return next((rung for rung in self._run.rungs if rung > reached), self._run.epochs)

    def held(self, turn: Turn | None) -> dict[str, Any]:
        """The parameters of a new trial whose values are given.

        Args:
            turn: the level for which it is begun; None for the fixed parameters alone.
        """
        return dict(self._run.fixed) if turn is None else {**self._run.fixed, turn.question.parameter: turn.level}

    def finished(self, turn: Turn) -> bool:
        """Whether a trial of this level has been trained to the end."""
        return any(t.state == TrialState.COMPLETE and turn.has(t) for t in self._ledger.own_trials)
