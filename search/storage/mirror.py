"""A copy of the study in memory, which samplers and pruners read without asking the database."""

from collections.abc import Container
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class Mirror(InMemoryStorage):
    """The study in memory. Samplers may be shown other trials in place of the stored ones."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[int] = set()
        """Numbers of trials that samplers and pruners never see."""
        self._shown: list[FrozenTrial] = []
        self._num_replaced = 0
        self.noted: dict[str, Any] = {}
        """Attributes of the study that the sampler has set for the next trial: some (QMC) keep their position there.
        They are to be stored with that trial."""

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

    def first(self, count: int, *, study_id: int) -> "Mirror":
        """A mirror of the first `count` trials of the study, without what is noted; Optuna cannot remove a trial."""
        copied = Mirror()
        copied.create_new_study(self.get_study_directions(study_id), self.get_study_name_from_id(study_id))
        copied.hidden, self.noted = self.hidden, {}
        for key, value in self.get_study_system_attrs(study_id).items():
            copied.remember_study_attr(study_id, key, value)
        for trial in self.stored_trials(study_id)[:count]:
            copied.create_new_trial(study_id, trial)
        return copied

    def keep_noted(self, study_id: int) -> None:
        """The noted attributes are in the database now."""
        for key, value in self.noted.items():
            self.remember_study_attr(study_id, key, value)
        self.noted = {}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.noted[key] = value

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return super().get_study_system_attrs(study_id) | self.noted
