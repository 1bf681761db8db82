"""Several networks of one architecture as one function, with the same numbers to the bit as each of them alone.

A small network mostly waits for Python, so what needs no weights is computed for all members at once. Products, norms
and embeddings are computed for one member after another, by the same kernels on the same shapes as in the network
itself: a batched product can round differently.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.cnn import Residual
from trainables.models.embeddings import Encoder

Layer = Callable[[Tensor], Tensor]
ROWS = 32
"""The rows of a batch must be a multiple of this. Elementwise kernels compute so many numbers at once, and the rest of
a tensor one by one, which can round differently."""
_ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU)


class Stack:
    """The networks in training mode: (K, N, F), the rows of each member, to (K, N, outputs)."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.generators = [torch.Generator() for _ in models]
        """Draws the dropout of each member."""
        self._forward = self._stacked(models)

    def __call__(self, x: Tensor) -> Tensor:
        return self._forward(x)

    def _stacked(self, members: Sequence[Any]) -> Layer:
        first = members[0]
        if isinstance(first, nn.Sequential):
            layers = [self._stacked(parts) for parts in zip(*members, strict=True)]
            return lambda x: _in_turn(layers, x)
        if isinstance(first, Residual):
            branch = self._stacked([member.branch for member in members])
            return lambda x: x + branch(x)
        if isinstance(first, nn.Dropout):
            return lambda x: self._dropped(x, first.p)
        return first if isinstance(first, _ELEMENTWISE) else _one_by_one(members)

    def _dropped(self, x: Tensor, p: float) -> Tensor:
        kept = torch.empty_like(x)
        for part, generator in zip(kept, self.generators, strict=True):
            part.bernoulli_(1 - p, generator=generator)
        return x * kept.div_(1 - p)


def _in_turn(layers: Sequence[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _one_by_one(members: Sequence[Any]) -> Layer:
    """A layer with weights."""
    first = members[0]
    if isinstance(first, Encoder):
        return lambda x: _encoded(members, x)
    if isinstance(first, nn.Linear):
        return lambda x: _Linear.apply(x, *(m.weight for m in members), *(m.bias for m in members))
    assert isinstance(first, nn.BatchNorm1d), f"cannot stack {first}"
    return lambda x: torch.stack([member(own) for member, own in zip(members, x.unbind(), strict=True)])


def _encoded(members: Sequence[Encoder], x: Tensor) -> Tensor:
    """The scaled columns of all members at once, since each has the same scale; then the weights of each."""
    parts = (part.unflatten(0, x.shape[:2]) for part in members[0].scaled(x.flatten(0, 1)))
    return torch.stack([member.embedded(*own) for member, *own in zip(members, x, *parts, strict=True)])


class _Linear(torch.autograd.Function):
    """x W^T + b of each member, and its gradients, by the products of `nn.Linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights_and_biases: Tensor) -> Tensor:
        weights, biases = weights_and_biases[: len(x)], weights_and_biases[len(x) :]
        ctx.save_for_backward(x, *weights)
        y = x.new_empty(*x.shape[:2], len(biases[0]))
        for own, result, weight, bias in zip(x, y, weights, biases, strict=True):
            torch.addmm(bias, own, weight.t(), out=result)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        of_y = gradients[0].contiguous()
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        if of_x is not None:
            for own, result, weight in zip(of_y, of_x, weights, strict=True):
                torch.mm(own, weight, out=result)
        return of_x, *(own.t() @ rows for own, rows in zip(of_y, x, strict=True)), *(own.sum(0) for own in of_y)
