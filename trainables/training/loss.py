"""The training loss of a task, and the conversion of outputs to predictions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.dataset import Dataset
from trainables.training.config import ClassWeights, TrainConfig
from trainables.training.metrics import pinball
from trainables.training.quantile import quantile_in
from trainables.training.target_scale import TargetScale, fit_scale

_POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


class Loss:
    """Cross entropy for classes; for a regression the mean squared error on the scale of the configuration.

    A search for the least `mae` trains the absolute error, one for `pinball:Q` the pinball loss.
    """

    scale: TargetScale | None
    """Of the target of a regression."""

    def __init__(self, dataset: Dataset, config: TrainConfig | None = None) -> None:
        """Fit class weights, or the scale of the target, to the training rows.

        Args:
            dataset: its training rows and its metric are used.
            config: label smoothing, class weights and the scale; without one there are none, and the scale is standard.

        Raises:
            ValueError: the targets do not allow this scale.
        """
        scaling, balance = (config.target_scaling, config.class_weights) if config else ("standard", "none")
        self._label_smoothing = config.label_smoothing if config else 0.0
        self._quantile = 0.5 if dataset.metric == "mae" else quantile_in(dataset.metric)
        y, self.scale, self._weights = dataset.train.y, None, None
        if dataset.task == "regression":
            self.scale = fit_scale(scaling, y if y.is_floating_point() else y.float(), metric=dataset.metric)
        elif balance != "none":
            self._weights = weigh_classes(y, dataset.num_classes, balance)

    def __call__(
        self, outputs: Tensor, y: Tensor, y_mixed: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """The training loss: with smoothed labels, and for mixed images weight * loss(y) + (1 - weight) *
        loss(y_mixed).

        Args:
            outputs: outputs of the network, (N, K); (N, 1) for a regression. Those of M members, (N, M, K), are each
                compared with the same targets.
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
        return outputs if self.scale is None else self.scale.to_units(outputs)

    def _plain(self, outputs: Tensor, y: Tensor) -> Tensor:
        if outputs.ndim == 3:
            outputs, y = outputs.flatten(0, 1), y.repeat_interleave(outputs.shape[1])
        if self.scale is None:
            return self._cross_entropy(outputs.float(), y)
        outputs, targets = outputs.float().squeeze(1), self.scale(y)
        return F.mse_loss(outputs, targets) if self._quantile is None else pinball(outputs - targets, self._quantile)

    def _cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        if self._weights is None:
            return F.cross_entropy(logits, y, label_smoothing=self._label_smoothing)
        losses = F.cross_entropy(logits, y, label_smoothing=self._label_smoothing, reduction="none")
        return (self._weights[y] * losses).mean()


def weigh_classes(y: Tensor, num_classes: int, class_weights: ClassWeights) -> Tensor:
    """The weight of each class (K,), w_k = c / n_k^p, with c such that the mean weight of the rows is 1.

    Args:
        y: labels (N,) of the training rows.
        num_classes: K.
        class_weights: none, sqrt or balanced: p is 0, 1/2 or 1.
    """
    counts = y.bincount(minlength=num_classes).float()
    weights = counts.clamp(min=1).pow(-_POWERS[class_weights])
    return weights * counts.sum() / (weights * counts).sum()
