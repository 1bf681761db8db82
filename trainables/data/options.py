"""What is said of a table before it is read: imports next to nothing, so that a mistake is answered at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainables.data.names import clean_name

Task = Literal["classification", "regression"]
Kind = Literal["number", "category"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a user says of a table of their own, or what was decided of it."""

    target: str
    """Name of the column to predict."""
    task: Task | None = None
    """Found from the target when left out."""
    drop: tuple[str, ...] = ()
    """Names of columns that are not inputs."""
    types: Mapping[str, Kind] = field(default_factory=dict)
    """What columns are; found from the file for those left out."""

    def __post_init__(self) -> None:
        for name, kind in self.types.items():
            if kind not in get_args(Kind):
                raise ValueError(f"a column must be a number or a category, got {str(kind)[:40]!r} for {name!r}")
        object.__setattr__(self, "target", clean_name(self.target))
        object.__setattr__(self, "drop", tuple(map(clean_name, self.drop)))
        object.__setattr__(self, "types", {clean_name(name): kind for name, kind in self.types.items()})
