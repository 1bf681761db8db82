"""What passes between the search and a worker: a leg to train, and what came of each step."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One stay of a trial on a worker."""

    trial: int
    params: dict[str, Any]
    seed: int
    reported: int
    """Epochs whose values are in the study when the leg begins."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What a worker says after one step: an epoch's record, or why there is none."""

    record: dict[str, Any] | None = None
    failure: str | None = None
    failure_kind: str | None = None
    notices: tuple[str, ...] = ()
