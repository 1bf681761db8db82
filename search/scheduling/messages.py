"""What passes between the search, a worker and whoever follows: a leg to train, what came of each step, and news."""

from dataclasses import dataclass
from typing import Any, Protocol

from optuna.trial import FrozenTrial


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One stay of a trial on a worker."""

    trial: int
    params: dict[str, Any]
    seed: int
    reported: int
    """Epochs whose values are in the study when the leg begins."""
    decided: tuple[int, ...] | None = None
    """Epochs after which the search decides whether the trial goes on; after any other it does. None: after each."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What a worker says after one step: an epoch's record, or why there is none."""

    record: dict[str, Any] | None = None
    failure: str | None = None
    failure_kind: str | None = None
    notices: tuple[str, ...] = ()
    log: str = ""
    """What the trial printed in this step, and the traceback of its failure."""


class Events(Protocol):
    """Who wants to know how the search goes on: the console."""

    def started(self, trial: FrozenTrial) -> None: ...
    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None: ...
    def paused(self, trial: FrozenTrial) -> None: ...
    def ended(self, trial: FrozenTrial) -> None: ...
    def notice(self, text: str) -> None: ...
