"""Metrics of a whole split from its logits or predictions, computed on the device with one synchronisation."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.training.quantile import quantile_in


def measure(task: str, outputs: Tensor, y: Tensor, *, metric: str = "") -> dict[str, float]:
    """The metrics of the task; see `classification` and `regression`."""
    return (classification if task == "classification" else regression)(outputs, y, metric=metric)


def classification(logits: Tensor, y: Tensor, *, metric: str = "") -> dict[str, float]:
    """Loss, accuracy, macro F1 and one more metric of a split, with a single synchronisation.

    Args:
        logits: (N, K), N at least 1.
        y: int64 labels (N,).
        metric: `balanced_accuracy`, `auc` or `log_loss`; any other name adds nothing.

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
    found = {"loss": loss, "accuracy": correct.sum() / len(y), "macro_f1": f1.sum() / (involved > 0).sum()}
    if metric == "balanced_accuracy":
        support = confusion.sum(1)
        found[metric] = (correct / support.clamp(min=1)).sum() / (support > 0).sum()
    elif metric == "auc":
        found[metric] = auc(logits, y)
    elif metric == "log_loss":
        found[metric] = loss
    return _numbers(found)


def auc(logits: Tensor, y: Tensor) -> Tensor:
    """The area under the ROC curve of each class against the others, averaged over the classes without weights.

    Of two classes it is the usual area. Classes that all rows or no row have are left out; 0.5 if none is left.

    Args:
        logits: (N, K).
        y: int64 labels (N,).
    """
    scores = torch.softmax(logits.double(), dim=1).T.contiguous()  # (K, N)
    positive = F.one_hot(y, logits.shape[1]).T.bool()
    order = scores.sort(dim=1).values
    ranks = (torch.searchsorted(order, scores) + torch.searchsorted(order, scores, right=True) + 1) / 2
    count = positive.sum(1)
    pairs = count * (len(y) - count)
    areas = ((ranks.double() * positive).sum(1) - count * (count + 1) / 2) / pairs.clamp(min=1)
    known = pairs > 0
    return torch.where(known.any(), (areas * known).sum() / known.sum().clamp(min=1), 0.5)


def regression(predicted: Tensor, y: Tensor, *, metric: str = "") -> dict[str, float]:
    """RMSE, MAE, R2 and one more metric of a split, with a single synchronisation.

    Args:
        predicted: (N,) or (N, 1), N at least 1, in the unit of `y`.
        y: float targets (N,).
        metric: `rmsle`, where predictions below 0 count as 0, or `pinball:Q`; any other name adds nothing.

    Returns:
        `rmse` and `mae` in the unit of `y`; `r2`: 1 for a perfect prediction, 0 for the mean; 0 for constant targets
        that were not met exactly, as in scikit-learn.
    """
    predicted, y = predicted.reshape(-1).double(), y.double()
    error = predicted - y
    residual, total = error.square().sum(), (y - y.mean()).square().sum()
    r2 = torch.where(total > 0, 1 - residual / total, (residual == 0).double())
    found = {"rmse": error.square().mean().sqrt(), "mae": error.abs().mean(), "r2": r2}
    if metric == "rmsle":
        found[metric] = (predicted.clamp(min=0).log1p() - y.clamp(min=0).log1p()).square().mean().sqrt()
    elif (quantile := quantile_in(metric)) is not None:
        found[metric] = pinball(error, quantile)
    return _numbers(found)


def pinball(error: Tensor, quantile: float) -> Tensor:
    """The mean pinball loss of errors, prediction minus target: least where predictions are this quantile."""
    return torch.maximum(-quantile * error, (1 - quantile) * error).mean()


def check_targets(*targets: Tensor, metric: str) -> None:
    """Raise ValueError where a metric is not defined for these targets."""
    lowest = min((float(y.min()) for y in targets if len(y)), default=0.0)
    if metric == "rmsle" and lowest < 0:
        raise ValueError(f"--metric rmsle needs targets of at least 0, got {lowest:g}; take rmse or mae")


def _numbers(found: Mapping[str, Tensor]) -> dict[str, float]:
    kind = next(iter(found.values())).dtype
    values = torch.stack([value.to(kind) for value in found.values()]).tolist()
    return dict(zip(found, values, strict=True))
