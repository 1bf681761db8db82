"""The training loss of a task, and the conversion of outputs to predictions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.dataset import Dataset
from trainables.training.metrics import pinball
from trainables.training.quantile import quantile_in


class Loss:
    """Cross entropy for classes; for a regression the mean squared error on the standardised target.

    A search for the least `mae` trains the absolute error, one for `pinball:Q` the pinball loss.
    """

    def __init__(self, dataset: Dataset, *, label_smoothing: float = 0.0) -> None:
        self._classification = dataset.task == "classification"
        self._label_smoothing = label_smoothing
        self._quantile = 0.5 if dataset.metric == "mae" else quantile_in(dataset.metric)
        targets = dataset.train.y if dataset.train.y.is_floating_point() else dataset.train.y.float()
        self._mean, self._std = targets.mean(), targets.std(correction=0).clamp_min(torch.finfo(targets.dtype).tiny)

    def __call__(
        self, outputs: Tensor, y: Tensor, y_mixed: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """The training loss: with smoothed labels, and for mixed images weight * loss(y) + (1 - weight) *
        loss(y_mixed).

        Args:
            outputs: outputs of the network, (N, K); (N, 1) for a regression.
            y: labels or targets, (N,).
            y_mixed: labels of the images mixed in, (N,).
            weight: share of `y`, a scalar in 0..1.
        """
        loss = self._plain(outputs, y)
        if y_mixed is None or weight is None:
            return loss
        return torch.lerp(self._plain(outputs, y_mixed), loss, weight)

    def to_units(self, outputs: Tensor) -> Tensor:
        """Outputs as predictions: logits unchanged, a regression in the unit and the precision of its target."""
        return outputs if self._classification else outputs.to(self._std.dtype) * self._std + self._mean

    def _plain(self, outputs: Tensor, y: Tensor) -> Tensor:
        if self._classification:
            return F.cross_entropy(outputs.float(), y, label_smoothing=self._label_smoothing)
        outputs, targets = outputs.float().squeeze(1), ((y - self._mean) / self._std).float()
        return F.mse_loss(outputs, targets) if self._quantile is None else pinball(outputs - targets, self._quantile)
