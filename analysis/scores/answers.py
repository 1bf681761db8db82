"""Predictions of trained networks, and their speed."""

import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from analysis.scores.metrics import probabilities
from trainables.training.training import Training

WARM_UP_ROWS = 256
"""Rows that are predicted once before the speed is measured."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The predictions of one network for the test rows."""

    outputs: np.ndarray
    """Probabilities (N, K), or predictions (N,)."""
    images_per_second: float


def predict_rows(training: Training, x: Tensor, *, flip: bool = False) -> Answers:
    """The network's predictions for these rows, and its speed.

    Args:
        training: restored.
        x: images uint8 (N, C, H, W), or a table.
        flip: average the probabilities of each image and its mirror image.
    """
    training.predict(x[:WARM_UP_ROWS])
    began = time.perf_counter()
    outputs = outputs_of(training, x)
    if flip:
        outputs = (outputs + outputs_of(training, x.flip(3))) / 2
    return Answers(outputs=outputs, images_per_second=len(x) / (time.perf_counter() - began))


def outputs_of(training: Training, x: Tensor) -> np.ndarray:
    """Probabilities (N, K), or predictions (N,)."""
    found = training.predict(x).numpy()
    return probabilities(found) if training.dataset.task == "classification" else found[:, 0]
