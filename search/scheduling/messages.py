"""What the search exchanges with workers and the console: a leg to train, the result of a step, and events."""

from dataclasses import dataclass
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from search.storage.expected import Expected
from search.storage.requests import Request


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One stay of a trial on a worker."""

    trial: int
    params: dict[str, Any]
    seed: int
    reported: int
    """Epochs whose values are in the study when the leg begins."""
    decided: tuple[int, ...] | None = None
    """Epochs after which the search decides whether the trial continues; after others it does. None: after each."""
    latency: float | None = None
    """That of its network, if it was measured and is in the study."""
    mates: tuple[tuple[int, int], ...] = ()
    """Number and seed of trials with the same configuration that are trained along with it."""
    workers: int = 1
    """How many workers the configuration asks for, in a search in which it decides."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What a worker returns after one step: the record of an epoch, or why there is none."""

    record: dict[str, Any] | None = None
    failure: str | None = None
    failure_kind: str | None = None
    notices: tuple[str, ...] = ()
    log: str = ""
    """What the trial printed in this step, and the traceback of its failure."""


class Events(Protocol):
    """What the search calls when something happens; the console and the loggers implement it."""

    def started(self, trial: FrozenTrial) -> None: ...
    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None: ...
    def paused(self, trial: FrozenTrial) -> None: ...
    def ended(self, trial: FrozenTrial) -> None: ...
    def steered(self, request: Request) -> None: ...
    def foreseen(self, expected: Expected) -> None: ...
    def notice(self, text: str) -> None: ...
