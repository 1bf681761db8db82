"""Checks whether the tables of the installed Optuna are known, so that we can write and read them ourselves."""

import sys
from functools import cache
from inspect import signature

import optuna
from optuna.storages import RDBStorage

from trainables.plain import is_plain

STEPS = {
    "_get_trials": ("study_id", "states", "included_trial_ids", "trial_id_greater_than"),
}
"""Private methods of `RDBStorage` that `bulk.py` overrides, with their parameters."""
TABLES = {
    "StudyModel": {"study_id", "study_name"},
    "StudySystemAttributeModel": {"study_system_attribute_id", "study_id", "key", "value_json"},
    "TrialModel": {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    "TrialUserAttributeModel": {"trial_user_attribute_id", "trial_id", "key", "value_json"},
    "TrialSystemAttributeModel": {"trial_system_attribute_id", "trial_id", "key", "value_json"},
    "TrialParamModel": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    "TrialValueModel": {"trial_value_id", "trial_id", "objective", "value", "value_type"},
    "TrialIntermediateValueModel": {
        "trial_intermediate_value_id", "trial_id", "step", "intermediate_value", "intermediate_value_type",
    },
}  # fmt: skip
"""Tables that `rdb.py` and `bulk.py` write or read, with all their columns."""


def knows_tables() -> bool:
    """Whether we write and read the tables ourselves; False in plain mode, in which Optuna does."""
    return not is_plain() and _unknown() is None


@cache
def _unknown() -> str | None:
    """The part of this Optuna that differs from what we know, None if none does; printed once."""
    try:
        unknown = _unknown_part()
    except (ImportError, AttributeError) as error:
        unknown = str(error)
    if unknown is not None:
        print(
            f"note: Optuna {optuna.__version__} stores studies in a format unknown to this release ({unknown}); "
            f"Optuna's own storage is used, which takes some milliseconds more per epoch",
            file=sys.stderr,
        )
    return unknown


def _unknown_part() -> str | None:
    from optuna.storages._rdb import models

    for name, takes in STEPS.items():
        if tuple(signature(getattr(RDBStorage, name)).parameters)[1:] != takes:
            return f"RDBStorage.{name}"
    for name, columns in TABLES.items():
        if {column.name for column in getattr(models, name).__table__.columns} != columns:
            return f"the table of {name}"
    return None
