"""Metrics of a whole split from its logits or predictions, computed on the device with one synchronisation."""

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, y: Tensor) -> dict[str, float]:
    """Loss, accuracy and macro F1 of a split, with a single synchronisation.

    Args:
        logits: (N, K), N at least 1.
        y: int64 labels (N,).

    Returns:
        `loss`: mean negative log likelihood in nats; `accuracy`: share of rows whose largest logit is their label;
        `macro_f1`: unweighted mean over the classes that occur among labels or predictions, as in scikit-learn.
    """
    num_classes = logits.shape[1]
    predicted = logits.argmax(dim=1)
    confusion = torch.zeros(num_classes * num_classes, device=logits.device)
    confusion.scatter_add_(0, y * num_classes + predicted, torch.ones_like(y, dtype=torch.float32))
    confusion = confusion.view(num_classes, num_classes)  # (label, predicted)
    correct, involved = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    f1 = 2 * correct / involved.clamp(min=1)
    loss = F.cross_entropy(logits.float(), y)
    values = torch.stack([loss, correct.sum() / len(y), f1.sum() / (involved > 0).sum()]).tolist()
    return dict(zip(("loss", "accuracy", "macro_f1"), values, strict=True))


def regression(predicted: Tensor, y: Tensor) -> dict[str, float]:
    """RMSE, MAE and R2 of a split, with a single synchronisation.

    Args:
        predicted: (N,) or (N, 1), N at least 1, in the unit of `y`.
        y: float targets (N,).

    Returns:
        `rmse` and `mae` in the unit of `y`; `r2`: 1 for a perfect prediction, 0 for the mean; 0 for constant targets
        that were not met exactly, as in scikit-learn.
    """
    predicted, y = predicted.reshape(-1).double(), y.double()
    error = predicted - y
    residual, total = error.square().sum(), (y - y.mean()).square().sum()
    r2 = torch.where(total > 0, 1 - residual / total, (residual == 0).double())
    values = torch.stack([error.square().mean().sqrt(), error.abs().mean(), r2]).tolist()
    return dict(zip(("rmse", "mae", "r2"), values, strict=True))
