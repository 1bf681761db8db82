"""Predictions of trained networks, and their speed."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analysis.scores.metrics import probabilities
from trainables.training.training import Training

Views = Literal["", "flip", "six views"]
"""Test-time augmentation: none, or the views of an image whose predictions are averaged."""
WARM_UP_ROWS = 256
"""Rows that are predicted once before the speed is measured."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The predictions of one network for the test rows."""

    outputs: np.ndarray
    """Probabilities (N, K), or predictions (N,)."""
    images_per_second: float


def predict_rows(training: Training, x: Tensor, *, views: Views = "") -> Answers:
    """The network's predictions for these rows, and its speed.

    Args:
        training: restored.
        x: images uint8 (N, C, H, W), or a table.
        views: average the probabilities of several views of each image: with `flip`, of the image and its mirror image;
            with `six views`, of these and of both shifted by a pixel to the upper left and to the lower right, which
            together count as much as the unshifted two (Jordan 2024).
    """
    training.predict(x[:WARM_UP_ROWS])
    began = time.perf_counter()
    outputs = outputs_of(training, x)
    if views:
        outputs = (outputs + outputs_of(training, x.flip(3))) / 2
    if views == "six views":
        shifted = [view for moved in shifts(x) for view in (moved, moved.flip(3))]
        outputs = (outputs + sum(outputs_of(training, view) for view in shifted) / 4) / 2
    return Answers(outputs=outputs, images_per_second=len(x) / (time.perf_counter() - began))


def shifts(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, C, H, W) moved by one pixel to the upper left and to the lower right; edges are mirrored."""
    height, width = x.shape[2:]
    rows, columns = (_mirrored(length, x.device) for length in (height, width))
    padded = x.index_select(2, rows).index_select(3, columns)  # (N, C, H + 2, W + 2)
    return padded[:, :, 2:, 2:], padded[:, :, :height, :width]


def _mirrored(length: int, device: torch.device) -> Tensor:
    """The numbers of `length` pixels, with one more on each side; the edge is not repeated where there is a choice."""
    inner = min(1, length - 1)
    return torch.tensor([inner, *range(length), length - 1 - inner], device=device)


def outputs_of(training: Training, x: Tensor) -> np.ndarray:
    """Probabilities (N, K), or predictions (N,)."""
    found = training.predict(x).numpy()
    return probabilities(found) if training.dataset.task == "classification" else found[:, 0]
