"""Checksums of a trial: of its configuration, and of its epochs."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from search.storage.trials import INFEASIBLE

CHECKSUM = "rungwise:checksum"
"""System attribute of a trial."""
_COVERED = ("seed", "tag", INFEASIBLE, "weights", "macs")
"""User attributes that are written with the configuration and never again."""


def base_checksum(
    params: Mapping[str, tuple[BaseDistribution, float]],
    attrs: Mapping[str, Any],
) -> int:
    """Checksum of a configuration, before any epoch.

    Args:
        params: distribution and Optuna's internal number of each. What is a category counts by its own value, so that
            damage to the list of choices is found.
        attrs: user attributes of the trial.
    """
    told = {
        name: distribution.choices[int(number)] if isinstance(distribution, CategoricalDistribution) else float(number)
        for name, (distribution, number) in params.items()
    }
    covered = {name: attrs[name] for name in _COVERED if name in attrs}
    return zlib.crc32(json.dumps([told, covered], sort_keys=True).encode())


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


@dataclass(frozen=True, kw_only=True)
class Written:
    """The records of a trial's epochs as they are stored: enough to write one more behind them."""

    num_records: int
    length: int
    """Characters of the text, all of them ASCII."""
    unclosed: int
    """Checksum of the configuration and of the text without its last bracket."""

    @classmethod
    def whole(cls, base: int, text: str, *, num_records: int) -> "Written":
        """Of all records at once.

        Args:
            base: checksum of the configuration.
            text: the records as JSON.
        """
        return cls(num_records=num_records, length=len(text), unclosed=zlib.crc32(text[:-1].encode(), base))

    def with_more(self, more: str) -> "Written":
        """After `more` has taken the place of the last bracket."""
        return Written(
            num_records=self.num_records + 1,
            length=self.length - 1 + len(more),
            unclosed=zlib.crc32(more[:-1].encode(), self.unclosed),
        )

    @property
    def checksum(self) -> int:
        """As `with_history` of the whole text."""
        return zlib.crc32(b"]", self.unclosed)
