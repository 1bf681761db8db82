"""Exponential moving average of the weights of a network."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.models.backbone import learnt
from trainables.plain import is_plain


class WeightAverage:
    """A copy of a network whose weights and norm statistics are moving averages of those of the network.

    average <- decay * average + (1 - decay) * weight, with decay = min(decay, (1 + step) / (10 + step)), so that the
    random first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    def update(self, model: nn.Module, step: int) -> None:
        """Update the average after a step; `step` counts from 0 over the whole training."""
        JointAverage([self], [model]).update(step)


class JointAverage:
    """The averages of several networks of one architecture, which are updated together."""

    def __init__(self, averages: Sequence[WeightAverage], models: Sequence[nn.Module]) -> None:
        averaged = [tensor for average in averages for tensor in _tensors(average.model)]
        pairs = list(zip(averaged, (t for model in models for t in _tensors(model)), strict=True))
        self._decay = averages[0].decay
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]  # of the norms

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages after a step; `step` counts from 0 over the whole training."""
        decay = min(self._decay, (1 + step) / (10 + step))
        _approach([own for own, _ in self._floats], [other for _, other in self._floats], share=1 - decay)
        for own, other in self._counters:
            own.copy_(other)


def _approach(averaged: list[Tensor], current: list[Tensor], *, share: float) -> None:
    """Move each tensor by this share towards the other, on CUDA in one launch for all."""
    if not is_plain():
        torch._foreach_lerp_(averaged, current, share)  # pyright: ignore[reportPrivateImportUsage]
        return
    for own, other in zip(averaged, current, strict=True):
        own.lerp_(other, share)


def _tensors(model: nn.Module) -> list[Tensor]:
    part = learnt(model)
    return [*part.parameters(), *part.buffers()]
