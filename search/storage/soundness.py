"""Checks that a study contains what was written: no trial is missing or twice, and no value has changed.

Every trial carries a checksum of its configuration, its epochs and its final state, as a system attribute that Optuna
ignores; its number follows from those of the others. A study of an earlier release, whose checksums cover less, is read
as before. SQLite detects a damaged page, but not a damaged number.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.storage.checksums import CHECKSUM, base_checksum, with_history, with_state
from search.storage.database import Damage

_FINAL = tuple(state for state in TrialState if state.is_finished())
CLOSED = "rungwise:trials"
"""System attribute of a study: the number of its trials when the last search ended."""


def check_trials(trials: Sequence[FrozenTrial], *, metric: str, at_least: int = 0) -> None:
    """Raise Damage unless the trials of a study agree with themselves and with each other.

    Args:
        trials: in the order of their numbers.
        metric: the objective, which the record of each epoch repeats.
        at_least: least number of trials.
    """
    for place, trial in enumerate(trials):
        if trial.number != place:
            known = isinstance(trial.number, int) and trial.number < place
            raise Damage(f"trial {trial.number} occurs twice" if known else f"trial {place} is missing")
    if len(trials) < at_least:
        raise Damage(f"{at_least - len(trials)} of {at_least} trials are missing")
    for trial in trials:
        if "seed" in trial.user_attrs and (wrong := _contradiction(trial, metric)):
            raise Damage(f"trial {trial.number}: {wrong}")


def _contradiction(trial: FrozenTrial, metric: str) -> str | None:
    """What is contradictory in this trial, in words; None if nothing is."""
    values, history = trial.intermediate_values, trial.user_attrs.get("history", [])
    sealed = trial.system_attrs.get(CHECKSUM) is not None
    if sealed and sorted(values) != [record["epoch"] for record in history]:
        return f"it has {len(values)} values and {len(history)} records of epochs"
    for record in history:
        epoch = record["epoch"]
        recorded = record.get(metric, values.get(epoch))
        if epoch in values and not _same(recorded, values[epoch]):
            return f"its value in epoch {epoch} is {values[epoch]!r}, but its record has {recorded!r}"
    if sealed and not trial.state.is_finished() and trial.datetime_complete is not None:
        return f"it is {trial.state.name.lower()}, but has ended"
    if not sealed or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return None
    final = values[max(values)] if values else None
    if (trial.value is None) != (final is None) or (final is not None and not _same(trial.value, final)):
        return f"its final value is {trial.value!r}, but its last epoch has {final!r}"
    return None


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers and (one == other or (math.isnan(one) and math.isnan(other)))


def check_stored(
    number: Any,
    params: Iterable[tuple[str, float, BaseDistribution]],
    *,
    state: TrialState,
    attrs: Mapping[str, Any],
    history: str | None,
    checksum: Any,
) -> None:
    """Raise Damage unless the rows of a trial match its checksum.

    Args:
        number: number of the trial.
        params: name, internal number and distribution of each parameter.
        state: as stored.
        attrs: user attributes.
        history: the records of the epochs as stored.
        checksum: the checksum as stored.
    """
    known = {name: (distribution, value) for name, value, distribution in params}

    def written(*, of_state: bool) -> int:
        base = base_checksum(known, attrs, of_state=of_state)
        return base if history is None else with_history(base, history)

    found = written(of_state=True)
    # the checksum of the final state is written before the state, and a crash can come between them
    possible = {with_state(found, one) for one in ([state] if state.is_finished() else _FINAL)}
    if not state.is_finished() or state == TrialState.FAIL:  # other programs can let a trial fail
        possible.add(found)
    if checksum not in possible and checksum != written(of_state=False):
        raise Damage(f"trial {number}: its state, configuration or epochs have changed since they were written")


def check_sealed(trials: Iterable[FrozenTrial]) -> None:
    """Raise Damage unless trials that Optuna has read match their checksums."""
    for trial in trials:
        if (checksum := trial.system_attrs.get(CHECKSUM)) is None:
            continue
        params = [
            (name, distribution.to_internal_repr(trial.params[name]), distribution)
            for name, distribution in trial.distributions.items()
        ]
        history = json.dumps(trial.user_attrs["history"]) if "history" in trial.user_attrs else None  # as stored
        stored: dict[str, Any] = {"state": trial.state, "attrs": trial.user_attrs, "history": history}
        check_stored(trial.number, params, **stored, checksum=checksum)


def num_kept(attrs: Mapping[str, Any]) -> int:
    """How many trials a study must contain, from its system attributes."""
    kept = attrs.get(CLOSED, 0)
    if type(kept) is not int:
        raise Damage(f"the number of trials is {kept!r}")
    return kept


def known_schema(connection: sqlite3.Connection) -> None:
    """Raise Damage if the tables are of a version that the installed Optuna does not know."""
    scripts = Path(optuna.storages.__file__).parent / "_rdb" / "alembic" / "versions"
    known = {script.stem.rstrip("_").removeprefix("v") for script in scripts.glob("v*.py")}
    with suppress(sqlite3.OperationalError):  # without that table: made before there was one
        for (version,) in connection.execute("SELECT version_num FROM alembic_version"):
            if known and str(version).removeprefix("v") not in known:
                rule = f"Optuna {optuna.__version__} does not know; upgrade it"
                raise Damage(f"its tables are of version {version!r}, which {rule}")
