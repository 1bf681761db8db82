"""Checksums of a trial: of its configuration, of its epochs, and of the state in which it ended."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from search.storage.trials import INFEASIBLE, REPEATS, WORKERS

CHECKSUM = "rungwise:checksum"
"""System attribute of a trial: its checksum."""
_COVERED = ("seed", "tag", INFEASIBLE, "weights", "macs", WORKERS, REPEATS)
"""User attributes that are written with the configuration and do not change."""


def base_checksum(
    params: Mapping[str, tuple[BaseDistribution, float]],
    attrs: Mapping[str, Any],
    *,
    of_state: bool = True,
) -> int:
    """Checksum of a configuration, before any epoch.

    Args:
        params: distribution and Optuna's internal number of each parameter. A choice counts by its value, so that
            damage to the list of choices is detected.
        attrs: user attributes of the trial.
        of_state: whether the final state is covered too; False for the checksum of earlier releases.
    """
    values = {
        name: distribution.choices[int(number)] if isinstance(distribution, CategoricalDistribution) else float(number)
        for name, (distribution, number) in params.items()
    }
    covered = {name: attrs[name] for name in _COVERED if name in attrs}
    return zlib.crc32(json.dumps([values, covered, *(["state"] if of_state else [])], sort_keys=True).encode())


def trial_checksum(trial: FrozenTrial) -> int:
    """`base_checksum` of a trial that is about to be stored."""
    params = {
        name: (distribution, distribution.to_internal_repr(trial.params[name]))
        for name, distribution in trial.distributions.items()
    }
    return base_checksum(params, trial.user_attrs)


def with_history(base: int, history: str) -> int:
    """Checksum of a configuration and its epochs, the latter as they are stored."""
    return zlib.crc32(history.encode(), base)


def final_checksum(trial: FrozenTrial, state: TrialState, *, base: int) -> int:
    """Checksum of a trial that ends in this state.

    Args:
        trial: with the records of all its epochs.
        base: checksum of its configuration.
    """
    history = trial.user_attrs.get("history")
    return with_state(base if history is None else with_history(base, json.dumps(history)), state)


def with_state(checksum: int, state: TrialState) -> int:
    """Checksum of a configuration, its epochs and the state in which the trial ended."""
    return zlib.crc32(state.name.encode(), checksum)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is needed to append a record to the stored records of a trial's epochs."""

    num_records: int
    length: int
    """Characters of the text, all of them ASCII."""
    unclosed: int
    """Checksum of the configuration and of the text without its last bracket."""

    @classmethod
    def whole(cls, base: int, text: str, *, num_records: int) -> "Written":
        """After all records have been written at once.

        Args:
            base: checksum of the configuration.
            text: the records as JSON.
        """
        return cls(num_records=num_records, length=len(text), unclosed=zlib.crc32(text[:-1].encode(), base))

    def with_more(self, more: str) -> "Written":
        """After `more` has replaced the last bracket of the text."""
        return Written(
            num_records=self.num_records + 1,
            length=self.length - 1 + len(more),
            unclosed=zlib.crc32(more[:-1].encode(), self.unclosed),
        )

    @property
    def checksum(self) -> int:
        """The checksum of the configuration and the whole text, equal to `with_history`."""
        return zlib.crc32(b"]", self.unclosed)
