"""Exponential moving average of the weights of a network."""

import copy

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

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average after a step; `step` counts from 0 over the whole training."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = _tensors(self.model), _tensors(model)
        floats = [index for index, tensor in enumerate(averaged) if tensor.is_floating_point()]
        _approach([averaged[i] for i in floats], [current[i] for i in floats], share=1 - decay)
        for index in set(range(len(averaged))) - set(floats):  # counters of the norms
            averaged[index].copy_(current[index])


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
