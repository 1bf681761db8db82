"""One thing that a review of the best trials found."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the best trials show."""

    kind: str
    """overfitting, worse_at_the_end, still_improving, noisy, edge, lonely or unexplored."""
    sentence: str
    advice: str

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.sentence} {self.advice}"
