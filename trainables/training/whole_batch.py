"""Lets a network that computes a part of the rows of a batch train as if it had all of them.

    with as_whole(share, share.sizes(128)):
        outputs = model(x)

Batch norm takes its statistics from the rows of all workers. Dropout draws for all rows in every worker, which all have
the same random states, and each takes those of its own. The network itself stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trainables.training.share import Share


def as_whole(share: Share | None, sizes: Sequence[int]) -> AbstractContextManager[Any]:
    """The context of a forward pass of the own rows of a batch; it does nothing with one worker.

    Args:
        sizes: rows of each worker.
    """
    return nullcontext() if share is None else _WholeBatch(share, sizes)


class _WholeBatch(TorchFunctionMode):
    def __init__(self, share: Share, sizes: Sequence[int]) -> None:
        super().__init__()
        self._share, self._own, self._all = share, sizes[share.rank], sum(sizes)
        first = sum(sizes[: share.rank])
        self._rows = slice(first, first + self._own)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is F.batch_norm:
            return self._normed(*args, **given)
        if func is F.dropout:
            return self._dropped(*args, **given)
        if func is Tensor.bernoulli_ and args[0].ndim and len(args[0]) == self._own:  # of torchvision's networks
            return self._drawn(*args, **given)
        return func(*args, **given)

    def _normed(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        *,
        momentum: float,
        training: bool,
        **given: Any,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, training=False, momentum=momentum, **given)
        found = _statistics(x.detach(), self._share)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(found.mean, momentum)
            running_var.lerp_(found.var * (found.count / (found.count - 1)), momentum)
        return _BatchNorm.apply(x, given["weight"], given["bias"], given["eps"], found)  # pyright: ignore[reportReturnType]

    def _dropped(self, x: Tensor, *, p: float, training: bool, inplace: bool) -> Tensor:
        if not training or p == 0.0 or len(x) != self._own:
            return F.dropout(x, p, training, inplace)
        return x * F.dropout(x.new_ones(self._all, *x.shape[1:]), p)[self._rows]

    def _drawn(self, x: Tensor, p: float = 0.5) -> Tensor:
        return x.copy_(x.new_empty(self._all, *x.shape[1:]).bernoulli_(p)[self._rows])


@dataclass(frozen=True, kw_only=True)
class _Statistics:
    """Of each channel over the rows and pixels of all workers, float32."""

    mean: Tensor
    """(C,)."""
    var: Tensor
    """(C,), divided by the count."""
    count: Tensor
    """Rows times pixels, a scalar."""
    share: Share


def _statistics(x: Tensor, share: Share) -> _Statistics:
    """Statistics of each worker, combined as Chan et al. 1983 do: sums of squares would cancel in float32."""
    values, dims = x.float(), _but_channels(x)
    count = values.numel() // values.shape[1]
    own = values.sum(dims) / count
    squares = (values - _wide(own, x)).square_().sum(dims)
    parts = share.gather(torch.cat([own, squares, own.new_full((1,), count)]))  # (workers, 2 C + 1)
    means, squares, counts = parts.split([len(own), len(own), 1], dim=1)
    total = counts.sum()
    mean = (means * counts).sum(0) / total
    var = (squares + counts * (means - mean).square()).sum(0) / total
    return _Statistics(mean=mean, var=var, count=total, share=share)


class _BatchNorm(torch.autograd.Function):
    """Batch norm with given statistics of this batch.

    y = w * z + b with z = (x - mean) / sqrt(var + eps), and with dy = dL/dy
    dL/dx = w / sqrt(var + eps) * (dy - mean(dy) - z * mean(dy * z)), all means over the rows and pixels of all workers.
    The gradients of w and b are those of the own rows, and are added up with all others after the backward pass.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes arguments by position
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, found: _Statistics
    ) -> Tensor:
        ctx.eps, ctx.found = eps, found
        ctx.save_for_backward(x, weight)
        return F.batch_norm(x, found.mean, found.var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), found = ctx.saved_tensors, ctx.found
        of_y, dims, rate = gradients[0].float(), _but_channels(x), (found.var + ctx.eps).rsqrt()
        z = (x.float() - _wide(found.mean, x)).mul_(_wide(rate, x))
        of_bias, of_weight = of_y.sum(dims), (of_y * z).sum(dims)
        means = torch.stack([of_bias, of_weight])
        found.share.add([means])
        means /= found.count
        of_x = of_y - z.mul_(_wide(means[1], x)).add_(_wide(means[0], x))
        of_x = of_x.mul_(_wide(rate if weight is None else rate * weight, x)).to(x.dtype)
        return (of_x, None, None, None, None) if weight is None else (of_x, of_weight, of_bias, None, None)


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """Values of the channels (C,) in a form that broadcasts over (N, C, ...)."""
    return values.view(1, -1, *[1] * (x.ndim - 2))
