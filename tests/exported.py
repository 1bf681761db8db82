"""Trains a small network on scikit-learn's digits in seconds and exports it, for the tests of export and predict."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

import spaces.space
from analysis.model.write import export_model
from analysis.scores.metrics import probabilities
from trainables.sources.load import load, load_test
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A run folder that holds nothing but an exported model, and what its network says of the test rows."""

    run_dir: Path
    x: Tensor
    y: np.ndarray
    expected: np.ndarray
    """Probabilities (N, K)."""

    @property
    def final_dir(self) -> Path:
        return self.run_dir / "final"


def export_digits(run_dir: Path, **changes: object) -> Exported:
    """The digits baseline after one epoch, with other parameters where given."""
    space = spaces.space.load("digits_arch")
    params = {**space.baseline, "width_0": 8, "width_1": 8, **changes}
    dataset = load("digits", "data", validation_fraction=0.0)
    training = Training(space.decode(params), dataset, epochs=1, seed=0)
    training.run_epoch()
    (run_dir / "final").mkdir(parents=True)
    export_model(run_dir / "final", training, facts={"space": "digits_arch", "params": params, "seed": 0})
    test = load_test("digits", "data")
    return Exported(
        run_dir=run_dir, x=test.x, y=test.y.numpy(), expected=probabilities(training.predict(test.x).numpy())
    )
