"""A finding of the review of the best trials."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the best trials show, and what to do about it."""

    kind: str
    """overfitting, worse_at_the_end, still_improving, noisy, edge, lonely or unexplored."""
    sentence: str
    advice: str
    parameter: str = ""
    """The hyperparameter whose range it is about."""

    @property
    def text(self) -> str:
        """Finding and advice."""
        return f"{self.sentence} {self.advice}"
