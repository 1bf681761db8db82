"""The space of a run, with the ranges that were set for it."""

from search.storage.run import Run
from spaces.ranges import change
from spaces.space import Space, load


def space_of(run: Run) -> Space:
    """The space of a run.

    Raises:
        ValueError: it is not there any more, or cannot have the ranges of the run any more.
    """
    return change(load(run.space), run.ranges, run.replaced)
