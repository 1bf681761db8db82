"""The storage of a running search through Optuna's documented methods, for an Optuna whose tables are not known.

Optuna stores each part of an epoch in a separate transaction. Their order is such that after a crash between two of
them the study is read as of the previous epoch, or the epoch is written again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.storage.checksums import CHECKSUM, with_history
from search.storage.durable import LEASE, Entries, StudyStorage, begun_by_another, stored_by_another
from search.storage.presence import StudyLostError


class DocumentedStorage(StudyStorage):
    """Writes through Optuna: four milliseconds more CPU time per epoch than `WholeTrialStorage`, and the lease is
    checked before a write instead of in its transaction. A kill between two writes can make QMC skip a point."""

    def store_trial(self, study_id: int, trial: FrozenTrial, *, entries: Mapping[str, Any]) -> int:
        if (held := self.get_n_trials(study_id)) != trial.number:
            raise stored_by_another(trial.number, held=held)
        self._store_entries(study_id, entries)
        trial_id = self.create_new_trial(study_id, template_trial=trial)
        if (number := self.get_trial_number_from_id(trial_id)) != trial.number:  # at the same moment
            super().set_trial_state_values(trial_id, TrialState.FAIL)
            raise StudyLostError(str(stored_by_another(trial.number, held=number)))
        return trial_id

    def _store_entries(self, study_id: int, entries: Mapping[str, Any]) -> None:
        for key, value in entries.items():
            self._look()
            self.set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._look()
        return super().create_new_trial(study_id, template_trial=template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._look()
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._look()
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._look()
        super().set_trial_system_attr(trial_id, key, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._look()
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self._look()
        return super().set_trial_state_values(trial_id, state, values)

    def record_epoch(
        self, trial_id: int, *, epoch: int, value: float, history: Sequence[Mapping[str, Any]], base: int
    ) -> int:
        checksum = with_history(base, json.dumps(history))
        self.set_trial_system_attr(trial_id, CHECKSUM, None)  # until all of it is stored
        self.set_trial_user_attr(trial_id, "history", history)
        self.set_trial_intermediate_value(trial_id, epoch, value)
        self.set_trial_system_attr(trial_id, CHECKSUM, checksum)
        return checksum

    def finish_trial(
        self,
        trial_id: int,
        state: TrialState,
        *,
        value: float | None,
        attrs: Mapping[str, Any],
        checksum: int,
    ) -> None:
        for key, content in attrs.items():
            self.set_trial_user_attr(trial_id, key, content)
        self.set_trial_system_attr(trial_id, CHECKSUM, checksum)
        self.set_trial_state_values(trial_id, state, None if value is None else [value])

    def begin_waiting(
        self, study_id: int, trial_id: int, trial: FrozenTrial, *, before: FrozenTrial, entries: Mapping[str, Any]
    ) -> None:
        self._store_entries(study_id, entries)
        for name, distribution in trial.distributions.items():
            if name not in before.params:
                number = distribution.to_internal_repr(trial.params[name])
                self.set_trial_param(trial_id, name, number, distribution)
        for put, attrs, known in (
            (self.set_trial_user_attr, trial.user_attrs, before.user_attrs),
            (self.set_trial_system_attr, trial.system_attrs, before.system_attrs),
        ):
            for key, value in attrs.items():
                if key not in known or known[key] != value:
                    put(trial_id, key, value)
        if not self.set_trial_state_values(trial_id, trial.state):
            raise begun_by_another(trial.number)

    def newest_trial(self, study_id: int) -> int | None:
        return max((trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)), default=None)

    def exchange_lease(self, study_id: int, choose: Callable[[str | None], Entries]) -> None:
        for key, text in choose(self._lease(study_id)).items():
            self.set_study_system_attr(study_id, key, None if text is None else json.loads(text))

    def _lease(self, study_id: int) -> str | None:
        stored = self.get_study_system_attrs(study_id).get(LEASE)
        return None if stored is None else json.dumps(stored)

    def _look(self) -> None:
        """Raise StudyLostError if this process must no longer write to the study."""
        self._before_write()
        if self.owner is not None:
            self._check_owner(self._lease(self.study_id))
