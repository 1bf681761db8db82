"""A copy of the study in memory, which samplers and pruners read without asking the database."""

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
        """From now on `get_all_trials` returns these in place of the first `in_place_of` stored trials."""
        self._shown, self._num_replaced = trials, in_place_of

    def show_all(self) -> None:
        """From now on `get_all_trials` returns the stored trials."""
        self.show([], in_place_of=0)

    def stored_trials(self, study_id: int) -> list[FrozenTrial]:
        """All trials as they are stored; do not change them."""
        return super().get_all_trials(study_id, deepcopy=False)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if not self._num_replaced and not self.hidden:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = [*self._shown, *self.stored_trials(study_id)[self._num_replaced :]]
        return [t for t in trials if t.number not in self.hidden and (states is None or t.state in states)]

    def remember_study_attr(self, study_id: int, key: str, value: Any) -> None:
        """Add an attribute that is already in the database."""
        super().set_study_system_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Store the attribute in the database as well: some samplers (QMC) keep their position in the study."""
        self._durable.set_study_system_attr(self._durable_study_id, key, value)
        super().set_study_system_attr(study_id, key, value)
