"""What `--set` changes in a space: one range or list of choices for each parameter; needs no Optuna."""

from dataclasses import dataclass
from typing import Literal

Scalar = str | int | float | bool | None


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
        """`0.0001..0.01 (log)`, `0..0.3 (step 0.05)` or `sgd, adamw`."""
        if self.kind == "categorical":
            return ", ".join(map(str, self.choices))
        scale = " (log)" if self.log else f" (step {self.step:g})" if self.step else ""
        return f"{self.low}..{self.high}{scale}"

    @property
    def option(self) -> str:
        """As `--set` takes it."""
        if self.kind == "categorical":
            return f"{self.parameter}={','.join(map(str, self.choices))}"
        scale = ":log" if self.log else ":linear" + (f":step={self.step:g}" if self.step else "")
        return f"{self.parameter}={self.low}..{self.high}{scale}"
