"""Trains small networks on CSV files and exports them, for the tests of predictions for tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import spaces.space
from analysis.model.conformal import Conformal, Scale
from analysis.model.write import export_model
from analysis.scores.metrics import probabilities
from tests.tables import Rows, beyond_float32, imbalanced_classes, mixed_categories, numeric_with_gaps, write_csv
from trainables.data.dataset import Dataset
from trainables.data.options import TableOptions
from trainables.sources.load import load
from trainables.training.training import Training

TABLES = {
    "numeric": (numeric_with_gaps(), "price", {"embedding": "periodic", "frequency_scale": 0.2, "num_frequencies": 8}),
    "mixed": (mixed_categories(), "rent", {"embedding": "piecewise_linear", "num_bins": 8, "scaling": "quantile"}),
    "classes": (imbalanced_classes(), "quality", {}),
    "wide": (beyond_float32(), "y", {}),
    "log": (mixed_categories(), "rent", {"target_scaling": "log"}),
    "ranks": (mixed_categories(), "rent", {"target_scaling": "quantile"}),
    "neighbours": (numeric_with_gaps(), "price", {"neighbours": 16}),
    "neighbours of classes": (imbalanced_classes(), "quality", {"neighbours": 16}),
    "members": (numeric_with_gaps(), "price", {"members": 8, "neighbours": 16, "batch_norm": True}),
    "members of classes": (imbalanced_classes(), "quality", {"members": 8}),
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A run folder with an exported model of a CSV file, and what its network says of the training rows."""

    run_dir: Path
    csv: Path
    table: Rows
    dataset: Dataset
    expected: np.ndarray


class OnDemand(dict[str, Exported]):
    """The exported networks of `TABLES` by name."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        super().__init__()
        self._make_folder = make_folder

    def __missing__(self, name: str) -> Exported:
        self[name] = export(self._make_folder(name.replace(" ", "-")), name)
        return self[name]


def export(folder: Path, name: str) -> Exported:
    table, target, changes = TABLES[name]
    path = write_csv(folder / "rows.csv", table)
    named = "tabular_mlp@amounts" if "target_scaling" in changes else "tabular_mlp"
    space = spaces.space.load(named)
    size = {} if "embedding" not in changes else {"embedding_size": 8}
    params = {**space.baseline, "width": 64, "adamw_lr": 1e-2, "batch_size": 32, **changes, **size}
    dataset = load("csv", path, validation_fraction=0.0, table=TableOptions(target=target))
    training = Training(space.decode(params), dataset, epochs=12, seed=0)
    for _ in range(12):
        training.run_epoch()
    (folder / "final").mkdir()
    outputs = training.predict(dataset.train.x).numpy()
    facts = {"space": named, "params": params, "seed": 0}
    if name == "numeric":
        residuals = np.sort(dataset.train.y.numpy() - outputs[:, 0]).astype(np.float64)
        conformal = Conformal(residuals=residuals, scale=Scale.none())
        facts["conformal"] = {"sha256": conformal.write(folder / "final"), "rows": len(residuals)}
    export_model(folder / "final", training, facts=facts)
    expected = probabilities(outputs) if dataset.classes else outputs[:, 0]
    return Exported(run_dir=folder, csv=path, table=table, dataset=dataset, expected=expected)
