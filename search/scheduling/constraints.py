"""Which configurations may be trained: their costs against the bounds of a run."""

from collections.abc import Callable
from typing import Any

import spaces.space
from search.scheduling.examination import Examination
from search.storage.run import Run
from spaces.space import Space


def make_examiner(run: Run, dataset: Any, *, space: Space | None = None) -> Callable[[Any], Examination]:
    """What `Proposals.sample` asks of a configuration: weights, multiply-adds and other costs, and the bounds it
    exceeds.

    Args:
        space: that of the run; loaded when None.
    """
    space = space or spaces.space.load(run.space)

    def examine(config: Any) -> Examination:
        costs = dict(space.work.costs(config, dataset))
        for one in run.constraints:
            if one.cost not in costs:
                raise ValueError(f"{one.option} needs Space(costs=...) that gives {one.cost!r}, known before training")
        return Examination(attrs=costs, excess={one.cost: one.excess(costs[one.cost]) for one in run.constraints})

    return examine
