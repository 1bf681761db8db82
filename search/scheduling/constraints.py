"""What is known of a configuration before it is trained: its costs, and which bounds of the run they exceed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search.storage.run import Run
from search.storage.space import space_of
from spaces.space import Space


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
        return Examination(attrs=costs, excess={one.cost: one.excess(costs[one.cost]) for one in run.constraints})

    return examine
