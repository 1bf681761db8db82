"""Measures how fast the first configurations of a search train, each in a process of its own."""

import multiprocessing as mp
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from search.process.quiet import quietly

MOST_FAILED = 3
"""If so many of the first configurations cannot be trained and none is measured, there is no forecast."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One measured configuration."""

    macs: int
    """Multiply-adds for one row; 1 where they are not known."""
    epoch_seconds: float
    """One epoch of all training and validation rows, while every slot is busy."""
    save_seconds: float = 0.0
    """One checkpoint."""
    failure: str = ""
    """Why this configuration could not be trained; then the seconds are those of the one before."""


class Measures(Protocol):
    """Measures a configuration, in a process of its own."""

    def measure(self, params: dict[str, Any]) -> Speed: ...


def measure_draws(
    bench: Measures, draws: Sequence[dict[str, Any]], *, at_once: int, least: int, until: tuple[float, float]
) -> list[Speed]:
    """The speeds of the first few draws.

    A draw that cannot be trained, since it diverges for instance, has the speed of the one before.

    Args:
        least: number of draws that are enough for a forecast.
        until: seconds after which no further draw is begun: if `least` are measured, and even if fewer are.

    Raises:
        ValueError: the first few draws cannot be trained; the line has the reason.
    """
    running: dict[Future[Speed | str], int] = {}
    found: dict[int, Speed | str] = {}
    with ProcessPoolExecutor(at_once, mp_context=mp.get_context("spawn")) as pool:
        began = time.monotonic()
        while True:
            number = len(found) + len(running)
            enough = sum(isinstance(one, Speed) for one in found.values()) + len(running) >= least
            wanted = number < len(draws) and (number == 0 or time.monotonic() < began + until[not enough])
            if wanted and len(running) < at_once:
                running[pool.submit(_measured, bench, draws[number])] = number
            elif running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    found[running.pop(future)] = future.result()
            is_over = not running and not wanted
            if is_over or all(place in found for place in range(MOST_FAILED)):
                _check_some([found[place] for place in sorted(found)])
            if is_over:
                return _filled([found[place] for place in sorted(found)])


def _measured(bench: Measures, params: dict[str, Any]) -> Speed | str:
    """What is measured, or why the training fails, as text: an exception of the user's code may not be picklable."""
    try:
        return quietly(bench.measure, params)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])


def _check_some(found: Sequence[Speed | str]) -> None:
    """Raise ValueError if all of these failed."""
    reasons = [one for one in found if isinstance(one, str)]
    if len(reasons) == len(found):
        first = "first configuration" if len(found) == 1 else f"first {len(found)} configurations"
        raise ValueError(f"the {first} cannot be trained: {reasons[0]}")


def _filled(found: Sequence[Speed | str]) -> list[Speed]:
    """The speeds, where a failed training has those of the one before; of the next one if it is the first."""
    last = next(one for one in found if isinstance(one, Speed))
    filled = []
    for one in found:
        last = one if isinstance(one, Speed) else replace(last, failure=one)
        filled.append(last)
    return filled
