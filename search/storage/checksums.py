"""Checksums of a trial: of its configuration, and of its epochs."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

CHECKSUM = "rungwise:checksum"
"""System attribute of a trial."""
_COVERED = ("seed", "tag", "infeasible", "weights", "macs")
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
