"""What is known of a configuration before it is trained: its costs, and which bounds of the run they exceed."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from search.algorithms.front import Price
from search.storage.run import Run
from search.storage.space import space_of
from search.storage.trials import OF_THE_MACHINE, WORKERS
from spaces.space import Space
from trainables.data.names import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is known of one configuration before it is trained."""

    attrs: dict[str, Any] = field(default_factory=dict)
    """User attributes of the trial: number of weights, multiply-adds."""
    excess: dict[str, float] = field(default_factory=dict)
    """By how much each bound is exceeded; a value above zero makes the configuration infeasible."""

    @property
    def infeasible(self) -> str | None:
        """Which bounds are exceeded, in words; None for a configuration that may be trained."""
        broken = [f"{name} exceeds its bound by {excess:,.0f}" for name, excess in self.excess.items() if excess > 0]
        return "; ".join(broken) or None


Examine = Callable[[Any], Examination]
"""Examines a configuration, as `Space.decode` returns it."""


def make_price(run: Run, space: Space, examine: Examine) -> Price:
    """A function that gives the second objective of a configuration, if that is known before training.

    A configuration that cannot be built, or whose cost is no number, has the worst; an error is reported when a trial
    gets it.
    """
    known: dict[Any, float] = {}
    second = run.second
    assert second is not None

    def price(params: Mapping[str, Any]) -> float:
        key = frozenset(params.items())
        if key not in known:
            found = math.nan
            with suppress(Exception):
                found = float(examine(space.decode(dict(params))).attrs[second.name])
            known[key] = -second.objective.sign * math.inf if math.isnan(found) else found
        return known[key]

    return price


def broken_metric(record: Mapping[str, Any], run: Run) -> str:
    """What is wrong with the objectives in the record of an epoch, in one line; empty if nothing is."""
    wanted = [run.metric]
    if run.second is not None and not run.second.known:
        wanted.append(run.second.name)
    for name in wanted:
        value = record.get(name)
        if isinstance(value, int | float) and not math.isnan(value):
            continue
        what = "metric" if name == run.metric else "objective"
        if name in record or what == "metric":
            return f"{what} {name!r} must be a number, got {value!r}"
        hidden = (*OF_THE_MACHINE, "epoch", "seconds")
        known = [key for key, found in record.items() if isinstance(found, int | float) and key not in hidden]
        same = [key for key in known if key.lower() == name.lower()]
        near = did_you_mean(name, same or known, cutoff=0 if same else 0.6)
        return f"no epoch reports the objective {name!r}; reported are {', '.join(known)[:200]}{near}"
    return ""


def examine_workers(run: Run, space: Space) -> Examine:
    """A function that computes nothing of a configuration but its workers, if it decides their number."""
    if not run.workers_by_config:
        return lambda config: Examination()
    return lambda config: Examination(attrs={WORKERS: space.workers_for(config)})


def make_examiner(run: Run, dataset: Any, *, space: Space | None = None) -> Examine:
    """A function that computes the costs of a configuration and compares them with the bounds of the run.

    Args:
        space: that of the run; loaded when None.
    """
    space = space or space_of(run)

    def examine(config: Any) -> Examination:
        costs = dict(space.work.costs(config, dataset))
        for one in run.constraints:
            if one.cost not in costs:
                raise ValueError(f"{one.option} needs Space(costs=...) that gives {one.cost!r}, known before training")
        if run.workers_by_config:
            costs[WORKERS] = space.workers_for(config)
        return Examination(attrs=costs, excess={one.cost: one.excess(costs[one.cost]) for one in run.constraints})

    return examine
