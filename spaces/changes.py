"""What `--set` changes in a space, and what `--prior` expects of it, for each parameter; needs no Optuna."""

from dataclasses import dataclass
from typing import Literal

Scalar = str | int | float | bool | None
SURE = 0.5
"""How sure a user is who does not say it."""


def describe_range(low: int | float | None, high: int | float | None, *, log: bool, step: int | float | None) -> str:
    """The values between two ends in words: `0.0001..0.01 (log)`, `0.0..0.5 in steps of 0.05`, `1..4`.

    Args:
        step: distance of neighbouring values; None for every number, 1 for every whole number.
    """
    has_step = step is not None and not (isinstance(step, int) and step == 1)
    return f"{low}..{high}" + (" (log)" if log else f" in steps of {step}" if has_step else "")


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values of one parameter, in place of those that the space states."""

    parameter: str
    kind: Literal["float", "int", "categorical"]
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    """Distance of neighbouring values; None for every number, or every whole number."""
    choices: tuple[Scalar, ...] = ()
    """The values, if they are listed."""

    def __str__(self) -> str:
        return f"{self.parameter} {self.text}"

    @property
    def text(self) -> str:
        """As `describe_range`, or `sgd, adamw`."""
        if self.kind == "categorical":
            return ", ".join(map(str, self.choices))
        return describe_range(self.low, self.high, log=self.log, step=self.step)

    @property
    def option(self) -> str:
        """As `--set` takes it."""
        if self.kind == "categorical":
            return f"{self.parameter}={','.join(map(str, self.choices))}"
        scale = ":log" if self.log else ":linear" + (f":step={self.step:g}" if self.step else "")
        return f"{self.parameter}={self.low}..{self.high}{scale}"


@dataclass(frozen=True, kw_only=True)
class ReplacedRange:
    """The values that one parameter had in a run before a resumed search got others."""

    parameter: str
    before: Range | None = None
    """None where the space states several ranges, one for each case."""
    text: str
    """The values before, in words."""
    now: str
    """The values that took their place, in words."""
    until: int
    """Trials in the study when they changed, which is the number of the first trial with other values."""
    changed: str = ""
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        return f"{self.parameter} {self.text} before trial {self.until}, then {self.now}"


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Values of one parameter that the user expects to be good."""

    parameter: str
    values: tuple[Scalar, ...] = ()
    """One number, near which good values are expected, or values of a list."""
    low: int | float | None = None
    high: int | float | None = None
    """The ends of a range in which good values are expected; None where `values` are given."""
    sure: float = SURE
    """The share of new configurations, above 0 and below 1, that are drawn as expected; the others ignore it."""

    def __str__(self) -> str:
        match self.values:
            case ():
                expected = f"from {self.low} to {self.high}"
            case (int() | float() as value,) if not isinstance(value, bool):
                expected = f"near {value}"
            case _:
                expected = " or ".join(map(str, self.values))
        return f"{self.parameter} {expected} in {100 * self.sure:.0f} % of new configurations"

    @property
    def option(self) -> str:
        """As `--prior` takes it."""
        expected = ",".join(map(str, self.values)) if self.values else f"{self.low}..{self.high}"
        return f"{self.parameter}={expected}" + (f":sure={self.sure:g}" if self.sure != SURE else "")
