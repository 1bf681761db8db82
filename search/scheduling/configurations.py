"""Completes a configuration that a user states, and counts those of a space that has few.

Names and values are checked, and what is left out is filled in.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search.algorithms.candidates import agrees
from search.process.text import counted
from search.storage.run import Run
from spaces.finite import all_configurations
from spaces.levels import complete, parameters, same
from spaces.space import Space
from trainables.data.names import did_you_mean


def completed(stated: Mapping[str, Any], *, base: Mapping[str, Any], run: Run, space: Space) -> dict[str, Any]:
    """The whole configuration.

    Args:
        stated: parameters with their values.
        base: the configuration that has the parameters which are not stated.

    Raises:
        ValueError: the space has no such parameter or value, or --fix or --question do not allow it.
    """
    check_held(stated, run)
    params = complete(space.suggest, {**base, **stated})
    for name in stated:
        if name not in params:
            raise ValueError(_unused(name, space))
    return params


def check_held(stated: Mapping[str, Any], run: Run) -> None:
    """Raise ValueError if one of these values is not one that --fix or --question allows."""
    held = {name: (value,) for name, value in run.fixed.items()}
    held |= {question.parameter: question.levels for question in run.questions}
    for name, values in held.items():
        if name in stated and not any(same(stated[name], value) for value in values):
            allowed = " or ".join(map(str, values))
            raise ValueError(f"{name} must be {allowed}, as --fix and --question say, got {stated[name]}")


def parsed(texts: Mapping[str, str], *, space: Space) -> dict[str, Any]:
    """The values that these texts describe, by parameter.

    Raises:
        ValueError: the space has no such parameter, or the parameter no such value.
    """
    known = parameters(space.suggest)
    for name in texts:
        if name not in known:
            raise ValueError(_unused(name, space))
    return {name: known[name].parse(text) for name, text in texts.items()}


def _unused(name: str, space: Space) -> str:
    known = parameters(space.suggest)
    why = "is not used with the other values" if name in known else "is no parameter of the space"
    return f"{name[:80]} {why}{did_you_mean(name, known)}"


def at_most(run: Run, space: Space) -> Run:
    """The run with no more trials than its space has configurations, where its sampler repeats none: for a forecast."""
    number = _num_configurations(run, space)
    return run if number is None else replace(run, trials=min(run.trials, max(number, len(run.plan))))


def describe_few(run: Run, space: Space) -> list[str]:
    """A line if the space has fewer configurations than trials are asked for."""
    number = _num_configurations(run, space)
    if number is None or number >= run.trials:
        return []
    return [f"the space has only {counted(number, 'configuration')}: the search ends when all have been tried"]


def _num_configurations(run: Run, space: Space) -> int | None:
    """None if they are many, or are repeated."""
    if run.sampler != "curves" or run.questions:
        return None
    found = all_configurations(space.suggest)
    return None if found is None else sum(agrees(params, run.fixed) for params in found)
