"""Trials in the present ranges of a search, where a resumed search replaced some, and a sentence about it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.studies.parameters import Parameter
from analysis.studies.trials import Trials
from search.process.text import counted
from search.storage.run import Run
from spaces.ranges import is_wider


def in_present_ranges(trials: Trials) -> Trials:
    """The trials whose values lie in the present ranges, with these ranges; all of them where no range was replaced.

    Otherwise the poor values that a narrower range excludes would decide how much its hyperparameter matters.
    """
    if not trials.present:
        return trials
    rows = trials.trials
    for parameter in trials.present:
        values = rows[f"params_{parameter.name}"]
        rows = rows[values.isna() | _lies(parameter, values)]
    present = {parameter.name: parameter for parameter in trials.present}
    return replace(
        trials,
        trials=rows,
        epochs=trials.epochs[trials.epochs["trial"].isin(rows.index)],
        parameters=tuple(present.get(parameter.name, parameter) for parameter in trials.parameters),
    )


def is_present(params: Mapping[str, Any], trials: Trials) -> bool:
    """Whether a configuration lies in the present ranges."""
    asked = [parameter for parameter in trials.present if parameter.name in params]
    return all(_lies(parameter, pd.Series([params[parameter.name]])).all() for parameter in asked)


def _lies(parameter: Parameter, values: pd.Series) -> pd.Series:
    if parameter.numeric:
        return pd.to_numeric(values, errors="coerce").between(parameter.low, parameter.high)
    return pd.Series(~np.isnan(parameter.scale(values)), index=values.index)


def replaced_ranges(trials: Trials, run: Run) -> str:
    """Which ranges the trials were drawn from, and what follows for what mattered; empty where none was replaced."""
    if not run.replaced:
        return ""
    said = [
        f"The range of {one.parameter} was {one.text} before trial {one.until}, and then {one.now}."
        for one in run.replaced
    ]
    inside, measured = len(in_present_ranges(trials).measured), len(trials.measured)
    if inside < measured:
        said.append(
            f"What mattered is computed from the {inside} of {counted(measured, 'trial')} whose values lie in the"
            f" present ranges."
        )
    present = {one.parameter: one for one in run.ranges}
    if any(one.before and is_wider(present[one.parameter], one.before) for one in run.replaced):
        said.append(
            "Values that only a later range has were tried late, when the sampler already knew good values of the other"
            " hyperparameters, so they may look better than they are."
        )
    return " ".join(said)
