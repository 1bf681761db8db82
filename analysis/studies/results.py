"""final.json: the results of a final evaluation, in the one form in which they are written and read.

What each part holds is told in `analysis/evaluation/record.py`, which makes them.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from analysis.studies.openings import EVALUATION
from search.storage.checking import build
from trainables.files.whole import finish

NAME = "final.json"


class ResultsError(ValueError):
    """Results that cannot be used; the message is one sentence with the reason and the way out."""


@dataclass(frozen=True, kw_only=True)
class FinalResults:
    """The parts that every final evaluation has, and the others by name."""

    FORMAT: ClassVar[int] = 1
    _LEFT_OUT: ClassVar[dict[str, Any]] = {"own": False, "sign": None, "export": None, "target_unit": ""}
    """Values that are as good as none, and are not written."""

    run: str
    metric: str
    """By which the contenders are compared on the test rows."""
    winner: str
    """Name of the first contender, fixed before the test set was opened."""
    image_shape: list[int]
    """Of one row of images; empty for answers of the user's own code, one number for a table."""
    entrants: list[dict[str, Any]]
    format: int = FORMAT
    own: bool = False
    """Whether code of the user's own answered."""
    run_dir: str = ""
    command: str = ""
    task: str = ""
    space: str = ""
    dataset: str = ""
    direction: str = ""
    sign: int | None = None
    """1 where more of the metric is better, -1 where less is; None where its name says so."""
    criterion: str = ""
    """How the contenders were chosen."""
    intervals: str = ""
    target_unit: str = ""
    references: list[dict[str, Any]] = field(default_factory=list)
    created: str = ""
    commit: str | None = None
    versions: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    openings: Any = 0
    """How often the test set had been opened; the log is what counts."""
    opened: Any = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    """Trainings without a network."""
    discussion: list[dict[str, str]] = field(default_factory=list)
    export: dict[str, Any] | None = None
    others: dict[str, Any] = field(default_factory=dict)
    """Parts that only some data have: `support`, `residuals`, `columns`, `baselines`, ..."""

    @classmethod
    def of(cls, parts: dict[str, Any]) -> "FinalResults":
        """The results that these parts are, each under its name.

        Raises:
            ResultsError: a part is missing or of the wrong type, or another release made them.
        """
        if "format" not in parts:
            raise ResultsError(f"{NAME} is damaged (it holds no results); evaluate once more with --again.")
        if parts["format"] != cls.FORMAT:
            raise ResultsError(f"{NAME} was written by another release; read it with that one.")
        known = {one.name for one in fields(cls)} - {"others"}
        others = {name: part for name, part in parts.items() if name not in known}
        try:
            return build(cls, {**{name: parts[name] for name in known if name in parts}, "others": others})
        except (TypeError, ValueError) as error:
            raise ResultsError(f"{NAME} is damaged ({error}); evaluate once more with --again.") from None

    @classmethod
    def parse(cls, text: str) -> "FinalResults":
        """The results in the text of a final.json.

        Raises:
            ResultsError: it cannot be used.
        """
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ResultsError(f"{NAME} is damaged ({error}); evaluate once more with --again.") from None
        return cls.of(parts if isinstance(parts, dict) else {})

    @classmethod
    def read(cls, final_dir: Path) -> "FinalResults | None":
        """The results in this folder, whose move is completed if it was interrupted; None if there are none.

        Raises:
            ResultsError: they cannot be used.
        """
        try:
            finish(final_dir, EVALUATION)
            text = (final_dir / NAME).read_text()
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ResultsError(f"{NAME} is damaged ({error}); evaluate once more with --again.") from None
        except OSError as error:
            raise ResultsError(f"{NAME} cannot be read ({error}).") from None
        return cls.parse(text)

    def as_dict(self) -> dict[str, Any]:
        """All parts under their names, as they are written."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "others"}
        none = self._LEFT_OUT
        return {name: part for name, part in own.items() if name not in none or part != none[name]} | self.others

    def write(self, folder: Path) -> None:
        """Write final.json into a folder that is not yet in its place."""
        (folder / NAME).write_text(json.dumps(self.as_dict(), indent=1) + "\n")
