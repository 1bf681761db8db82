"""The options of a table; imports very little, so that a mistake is answered at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainables.data.names import clean_name

Task = Literal["classification", "regression"]
Kind = Literal["number", "category"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The options of a table of the user's own, as stated or as completed after reading it."""

    target: str
    """Name of the column to predict."""
    task: Task | None = None
    """Detected from the target when None."""
    drop: tuple[str, ...] = ()
    """Names of columns that are not inputs."""
    types: Mapping[str, Kind] = field(default_factory=dict)
    """Types of columns; those of other columns are detected from the file."""

    def __post_init__(self) -> None:
        for name, kind in self.types.items():
            if kind not in get_args(Kind):
                raise ValueError(f"a column must be a number or a category, got {str(kind)[:40]!r} for {name!r}")
        object.__setattr__(self, "target", clean_name(self.target))
        object.__setattr__(self, "drop", tuple(map(clean_name, self.drop)))
        object.__setattr__(self, "types", {clean_name(name): kind for name, kind in self.types.items()})
