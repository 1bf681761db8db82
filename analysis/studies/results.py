"""final.json: what a final evaluation found, as it is written and read.

results = FinalResults.read("runs/FINAL_JSON/final")
print(results.winning.scores[results.metric])

A score is {"value", "low", "high"} with a 95 % interval; shares lie in 0..1. Without an interval low and high are null,
and NaN when they are read; so is value for a class without test rows.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from analysis import wording
from analysis.studies.unknown import with_nan
from search.process.tabular import finite
from search.storage.checking import build
from spaces.objectives import metric_named
from trainables.files.whole import finish

FORMAT = 1
FINAL_JSON = "final.json"
EVALUATION = "evaluation"
"""What `trainables.files.whole` calls the parts of one evaluation."""
PARTS = (
    "figures",
    "tables",
    "model.onnx",
    "model.safetensors",
    "conformal.safetensors",
    "ensemble.safetensors",
    "model.json",
    "README.md",
    FINAL_JSON,
)
"""What one evaluation leaves in `final`, replaced together; final.json is the last."""
Numbers = dict[str, Any]


class ResultsError(ValueError):
    """A final.json that cannot be read; the message is a sentence with the reason and the way out."""

    def __init__(self, message: str, *, damage: str = "") -> None:
        """
        Args:
            damage: what is wrong with the file; empty if it is whole.
        """
        super().__init__(message)
        self.damage = damage


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One configuration on the test rows, trained on several fresh seeds."""

    name: str
    scores: dict[str, Numbers]
    """By metric."""
    by_seed: dict[str, list[Any]]
    """Values of each metric, one for each seed."""
    role: str = ""
    """top, baseline, random or augmented: a row with test-time augmentation."""
    trial: int | None = None
    """Of the search; None for the baseline."""
    params: Numbers = field(default_factory=dict)
    search_value: float | None = None
    criterion: float | None = None
    """By which it was chosen."""
    seeds: list[Any] = field(default_factory=list)
    weights: int | None = None
    macs: int | None = None
    """Multiply-adds of one row."""
    training_seconds: float | None = None
    images_per_second: float = 0.0
    classes: dict[str, Numbers] = field(default_factory=dict)
    """Precision, recall and F1 of each class."""
    optimism: Numbers = field(default_factory=dict)
    """Search value minus fresh value, positive when the search was optimistic."""
    difference: Numbers = field(default_factory=dict)
    """From the baseline."""
    mcnemar: Numbers = field(default_factory=dict)
    """The test against the baseline."""
    probability_best: float | None = None
    joint: Numbers = field(default_factory=dict)
    """Of an entrant that was on the front of the search: its value with an interval that holds together with those of
    the others on the front, and as `second` the second objective in the search."""
    confusion: list[Any] = field(default_factory=list)
    """(K, K), summed over seeds."""


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """One classical method on the test rows of a table, fitted on the winner's training rows."""

    name: str
    title: str
    settings: str = ""
    """In words: `300 trees, a third of the features at each split`."""
    tuned: bool = False
    """Whether its settings were chosen on the validation rows."""
    seeds: list[int] = field(default_factory=list)
    """One for each model; more than one where the method is random."""
    fit_seconds: float = 0.0
    """Of one model, on average."""
    rows_per_second: float = 0.0
    """Predicted by one model."""
    scores: dict[str, Numbers]
    """By metric."""
    by_seed: dict[str, list[Any]]
    """Values of each metric, one for each seed."""
    difference: Numbers
    """The winner minus this method, paired on rows."""

    @property
    def uses_features(self) -> bool:
        """False for a constant: the mean of the targets, or the most frequent class."""
        return self.name not in ("mean", "majority")


@dataclass(frozen=True, kw_only=True)
class FinalResults:
    """All that a final evaluation found. What has a default belongs to some kinds of data only."""

    metric: str
    """By which the entrants are compared."""
    winner: str
    """Name of the best entrant of the search, fixed before the test set was opened."""
    entrants: list[Entrant]
    """The best of the search first, a row with test-time augmentation last."""
    format: int = FORMAT
    own: bool = False
    """Whether code of the user's own was evaluated."""
    run: str = ""
    run_dir: str = ""
    command: str = ""
    task: str = ""
    image_shape: list[int] = field(default_factory=list)
    """Of one row: (C, H, W), or (F,) of a table."""
    space: str = ""
    dataset: str = ""
    direction: str = ""
    sign: int | None = None
    """1 where more of the metric is better, -1 where less is; None where its name says so."""
    second: Numbers = field(default_factory=dict)
    """Name and direction of the second objective of the search, if two entrants or more were on its front."""
    criterion: str = ""
    """How the entrants were chosen."""
    ahead: list[str] = field(default_factory=list)
    """Names of the configurations that ranked before the winner, and of which no network could be trained."""
    intervals: str = ""
    few_seeds: bool = False
    """Whether the winner's intervals are mainly as wide as they are because there are few seeds."""
    references: list[Numbers] = field(default_factory=list)
    """Published results."""
    slots: int = 1
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    created: str = ""
    commit: str | None = None
    versions: Numbers = field(default_factory=dict)
    machine: Numbers = field(default_factory=dict)
    conditions: Numbers = field(default_factory=dict)
    """epochs, seeds, train_rows, held_out_rows, test_rows, test_groups (of a split by groups), test_checksum,
    device, precision, augmentation, extra_data."""
    openings: int = 0
    """How often the test set had been opened, this evaluation included."""
    opened: list[Any] = field(default_factory=list)
    """The lines of openings.jsonl."""
    support: dict[str, int] = field(default_factory=dict)
    """Test rows of each class."""
    confused: list[Numbers] | None = None
    """The winner's most frequent mistakes; None unless it is a classification."""
    calibration: Numbers = field(default_factory=dict)
    """Reliability bins of the exported network; chance: the error of a perfectly calibrated one."""
    mistakes: list[Numbers] = field(default_factory=list)
    """The exported network's most confident ones."""
    residuals: Numbers = field(default_factory=dict)
    """Of the exported network, of a regression; see `analysis/scores/residuals.py` for this and the next three."""
    bands: list[Numbers] = field(default_factory=list)
    cap: Numbers = field(default_factory=dict)
    floor: Numbers = field(default_factory=dict)
    baselines: list[BaselineResult] = field(default_factory=list)
    """Of a table, the simplest first."""
    target: str = ""
    target_unit: str = ""
    target_median: float | None = None
    columns: list[Numbers] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """Columns with longitude and latitude."""
    range: Numbers = field(default_factory=dict)
    """Test rows outside the range of the training rows."""
    importance_metric: str = ""
    importance: list[Numbers] = field(default_factory=list)
    dependence: list[Numbers] = field(default_factory=list)
    geography: Numbers = field(default_factory=dict)
    ensemble: Numbers = field(default_factory=dict)
    """The mean prediction of the winner's networks against one of them."""
    failures: list[Numbers] = field(default_factory=list)
    """Trainings without a network, with their cause."""
    discussion: list[dict[str, str]] = field(default_factory=list)
    """Sentences, each with its topic."""
    export: Numbers = field(default_factory=dict)
    """sha256, seed and verification of the exported network."""

    @property
    def winning(self) -> Entrant:
        """The entrant that `winner` names."""
        return next(entrant for entrant in self.entrants if entrant.name == self.winner)

    @property
    def is_less_better(self) -> bool:
        """Whether less of the metric is better."""
        return metric_named(self.metric).less_is_better if self.sign is None else self.sign < 0

    @property
    def informed_baselines(self) -> list[BaselineResult]:
        """The baselines that use features, the best on the test rows first."""
        found = [baseline for baseline in self.baselines if baseline.uses_features]
        return sorted(found, key=lambda b: b.scores[self.metric]["value"], reverse=not self.is_less_better)

    @property
    def front(self) -> list[Entrant]:
        """The entrants with joint intervals, in the order of the second objective."""
        return sorted((e for e in self.entrants if e.joint), key=lambda entrant: entrant.joint["second"])

    @property
    def hardware(self) -> str:
        """What trained the networks: `AMD EPYC, 2 at once`."""
        gpu = self.machine.get("gpu_model") or "a GPU"
        device = self.machine["cpu_model"] if self.conditions["device"] == "cpu" else gpu
        return f"{device}, {self.slots} at once" if self.slots > 1 else device

    def in_unit(self, metric: str) -> str:
        """A metric in words, with the unit of the target."""
        return wording.named(metric, self.target_unit)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, as they are in the file."""
        return finite({name: value for name, value in _plain(self).items() if value is not None and value is not False})

    def write(self, folder: Path) -> None:
        """Write final.json into a folder that is not in its place yet."""
        (folder / FINAL_JSON).write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def of(cls, stored: Any) -> "FinalResults":
        """The results that these plain values are; names of a later release are left out.

        Raises:
            ResultsError: something is missing or of the wrong type, or a different release wrote them.
        """
        if not isinstance(stored, dict) or "format" not in stored:
            raise _damaged("it has no results")
        if stored["format"] != FORMAT:
            raise ResultsError(f"{FINAL_JSON} was written by a different release; read it with that release.")
        try:
            found = build(cls, with_nan(stored))
        except (TypeError, ValueError, RecursionError) as error:
            raise _damaged(str(error)) from None
        if all(entrant.name != found.winner for entrant in found.entrants):
            raise _damaged("the winner is not an entrant")
        return found

    @classmethod
    def read(cls, final_dir: Path) -> "FinalResults | None":
        """The results in this folder, whose move is completed if it was interrupted; None if there are none.

        Raises:
            ResultsError: they cannot be read.
        """
        try:
            finish(final_dir, EVALUATION)
            stored = json.loads((final_dir / FINAL_JSON).read_text())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise _damaged(str(error)) from None
        except OSError as error:
            raise ResultsError(f"{FINAL_JSON} cannot be read ({error}).") from None
        return cls.of(stored)


def _damaged(damage: str) -> ResultsError:
    return ResultsError(f"{FINAL_JSON} is damaged ({damage}); evaluate again with --again.", damage=damage)


def _plain(record: FinalResults | Entrant | BaselineResult) -> dict[str, Any]:
    """Every field but empty ones: of a part that these data do not have."""
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    kept = {name: value for name, value in values.items() if not (isinstance(value, dict | list | str) and not value)}
    return {name: [*map(_plain_item, value)] if isinstance(value, list) else value for name, value in kept.items()}


def _plain_item(item: Any) -> Any:
    return _plain(item) if isinstance(item, Entrant | BaselineResult) else item
