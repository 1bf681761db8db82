"""Size of a network before it is trained: weights, and multiply-adds for one image."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from trainables.data import Dataset


class ModelConfig(Protocol):
    """Whatever can build a network for a data set."""

    def build(self, dataset: Dataset) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one network costs."""

    num_weights: int
    macs: int
    """Multiply-adds of convolutions and matrix products in one forward pass of one row; training takes about three
    times as many."""


def measure_cost(model: ModelConfig, dataset: Dataset) -> Cost:
    """The cost of the network that this configuration builds for this data set; exact, in milliseconds.

    Args:
        model: its network is built and run on the meta device, which computes shapes and allocates nothing.
        dataset: only its shape and its classes are used.
    """
    with torch.device("meta"), torch.random.fork_rng([]):
        network = model.build(dataset).eval()
    macs = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weight = layer.weight
        assert isinstance(weight, Tensor)
        places = output.shape[2:].numel() if isinstance(layer, nn.Conv2d) else 1
        macs += weight.numel() * places

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, *dataset.image_shape, device="meta"))
    return Cost(num_weights=sum(weight.numel() for weight in network.parameters()), macs=macs)
