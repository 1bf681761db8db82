"""A study in memory beside the durable one: samplers and pruners read it, at no cost of the database."""

from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class Mirror(InMemoryStorage):
    """The study in memory. Samplers may be shown other trials in place of the stored ones."""

    def __init__(self, durable: BaseStorage, study_id: int) -> None:
        super().__init__()
        self._durable = durable
        self._durable_study_id = study_id
        self.hidden: set[int] = set()
        """Numbers of trials that samplers and pruners never see."""
        self._shown: list[FrozenTrial] = []
        self._num_replaced = 0

    def show(self, trials: list[FrozenTrial], *, in_place_of: int) -> None:
        """From now on let `get_all_trials` give these in place of the first few stored ones."""
        self._shown, self._num_replaced = trials, in_place_of

    def show_all(self) -> None:
        """Let `get_all_trials` give what is stored."""
        self.show([], in_place_of=0)

    def stored_trials(self, study_id: int) -> list[FrozenTrial]:
        """All of them, as they are stored; not to be changed."""
        return super().get_all_trials(study_id, deepcopy=False)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if not self._num_replaced and not self.hidden:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = [*self._shown, *self.stored_trials(study_id)[self._num_replaced :]]
        return [t for t in trials if t.number not in self.hidden and (states is None or t.state in states)]

    def remember_study_attr(self, study_id: int, key: str, value: Any) -> None:
        """Take over what the database holds already."""
        super().set_study_system_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Some samplers keep a position in the study (QMC): it must survive as the trials do."""
        self._durable.set_study_system_attr(self._durable_study_id, key, value)
        super().set_study_system_attr(study_id, key, value)
