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
    bounds = {"weights": run.max_weights, "macs": run.max_macs}

    def examine(config: Any) -> Examination:
        costs = dict(space.work.costs(config, dataset))
        excess = {}
        for name, bound in bounds.items():
            if bound is None:
                continue
            if name not in costs:
                raise ValueError(f"--max-{name} needs Space(costs=...) that gives {name!r}, known before training")
            excess[name] = float(costs[name] - bound)
        return Examination(attrs=costs, excess=excess)

    return examine
