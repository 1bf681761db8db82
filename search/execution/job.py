"""What every worker of a search is given."""

from dataclasses import dataclass
from typing import Any

from spaces.changes import Range, ReplacedRange
from trainables.trainable import Keep


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is the same for every trial of a search; sent to each node once."""

    space: str
    arrays: Any
    """The data as the space's task packs them, held in the node's shared memory; or Ray's reference to that."""
    epochs: int
    metric: str
    keep: Keep | None = None
    """How a training chooses the epoch that it keeps; None if that is the last one."""
    checkpoints: str
    """Folder or URI of the checkpoints, the same on every node."""
    ranges: tuple[Range, ...] = ()
    """Ranges in place of those of the space."""
    replaced: tuple[ReplacedRange, ...] = ()
    """Ranges that parameters had in earlier trials."""
    home: str = ""
    """Ray's identifier of the node on which the search runs and the run folder is."""
    threads: int
    """CPUs of each worker of a trial."""
    cuda: bool
    mps: str | None = None
    """Key by which workers that share a GPU join MPS; None without it."""
    workers: int = 1
    """Workers that train a trial together."""
    latency: bool = False
    """Whether the latency of each network is measured before its first epoch, and reported."""
    most_workers: int | None = None
    """How many the configuration of a trial may ask for; None if it does not decide their number."""
    final: bool = False
    """Whether these are the trainings of the final evaluation."""
    output: str | None = None
    """Folder in which the driver finds what a trial printed since its last report; None on a cluster."""
    debug: bool = False
    """Show what trials print as well."""
