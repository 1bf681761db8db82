"""What a search takes from earlier ones, as `--from` says. run.json keeps it: a resume needs no other folder."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from search.storage.checking import Range
from spaces.changes import Range as Learnt
from spaces.changes import Scalar

Count = Annotated[int, Range(low=1, high=10**9)]
TAG = "earlier-"
"""Begins the tag of a planned trial whose configuration is from an earlier search."""


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A trial of an earlier search, as a configuration of this one."""

    number: Annotated[int, Range(low=0, high=10**9)]
    """In its own study."""
    params: dict[str, Scalar]
    values: tuple[float, ...] = ()
    """At the rungs of its search, as far as it was trained."""
    failure: Literal["", "diverged", "out of memory"] = ""
    """Why it could not be trained, if its configuration was the cause."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A search before this one, and what this one takes from it."""

    name: str
    created: str
    """UTC, ISO 8601."""
    metric: str
    rungs: tuple[Count, ...]
    """Epochs at which its trials were compared, the full budget last."""
    num_trials: int
    """Trials that it compared, or that could not be trained."""
    outside: dict[str, int] = field(default_factory=dict)
    """Parameter -> trials that are not taken because this search does not have their value."""
    new: tuple[str, ...] = ()
    """Parameters that only this search has; earlier configurations get the baseline's value."""
    gone: tuple[str, ...] = ()
    """Parameters that only the earlier search has."""
    learnt: tuple[Learnt, ...] = ()
    """Parameters whose effect is learnt, with their ranges there."""
    trials: tuple[EarlierTrial, ...] = ()
    """Those that are taken, in the order of their numbers."""

    def __str__(self) -> str:
        """`38 of 40 trials of first (dropout is new here; width is outside in 2)`."""
        said = [f"{', '.join(self.new)} {_be(self.new)} new here"] if self.new else []
        said += [f"{', '.join(self.gone)} {_be(self.gone)} not searched here"] if self.gone else []
        said += [f"{name} is outside in {count}" for name, count in self.outside.items()]
        notes = f" ({'; '.join(said)})" if said else ""
        return f"{len(self.trials)} of {self.num_trials} trials of {self.name}{notes}"


def _be(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"
