"""What a search takes from earlier ones, as `--from` says. run.json keeps it: a resume needs no other folder."""

from dataclasses import dataclass, field
from typing import Annotated

from search.storage.checking import Range
from spaces.changes import Scalar

Number = Annotated[int, Range(low=0, high=10**9)]
TAG = "earlier-"
"""Begins the tag of a planned trial whose configuration is from an earlier search."""


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A trial of an earlier search, as a configuration of this one."""

    number: Number
    """In its own study."""
    params: dict[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A search before this one, and what this one takes from it."""

    name: str
    created: str
    """UTC, ISO 8601."""
    num_trials: Number
    """Trials that it compared."""
    num_here: Number = 0
    """Those of them whose configuration this search has as well; 0 if not known, of a run before this was stored."""
    outside: dict[str, int] = field(default_factory=dict)
    """Parameter -> trials that are left out because this search does not have their value."""
    new: tuple[str, ...] = ()
    """Parameters that only this search has; earlier configurations get the baseline's value."""
    gone: tuple[str, ...] = ()
    """Parameters that only the earlier search has."""
    best: tuple[EarlierTrial, ...] = ()
    """The best of them, best first."""

    def __str__(self) -> str:
        """`the best of 38 of 40 trials of first (dropout is new here; width is outside in 2)`."""
        said = [f"{', '.join(self.new)} {_be(self.new)} new here"] if self.new else []
        said += [f"{', '.join(self.gone)} {_be(self.gone)} not searched here"] if self.gone else []
        said += [f"{name} is outside in {count}" for name, count in self.outside.items()]
        notes = f" ({'; '.join(said)})" if said else ""
        left = f"{self.num_here} of " if 0 < self.num_here < self.num_trials else ""
        return f"the best of {left}{self.num_trials} trials of {self.name}{notes}"


def _be(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"
