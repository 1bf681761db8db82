"""What is known of a configuration before it is trained."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is known of a configuration before it is trained."""

    attrs: dict[str, Any] = field(default_factory=dict)
    """User attributes of the trial: number of weights, multiply-adds."""
    excess: dict[str, float] = field(default_factory=dict)
    """By how much each bound is exceeded; a value above zero makes the configuration infeasible."""

    @property
    def infeasible(self) -> str | None:
        """Which bounds are exceeded, in words; None for a configuration that may be trained."""
        broken = [f"{name} exceeds its bound by {excess:,.0f}" for name, excess in self.excess.items() if excess > 0]
        return "; ".join(broken) or None
