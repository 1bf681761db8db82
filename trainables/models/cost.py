"""The size of a network before it is trained: weights, and multiply-adds for one row."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from trainables.data.dataset import Dataset
from trainables.models.backbone import BackboneConfig
from trainables.models.embeddings import ColumnLinear
from trainables.models.neighbours import NeighbourNet


class ModelConfig(Protocol):
    """A configuration that builds a network for a data set."""

    def build(self, dataset: Dataset) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The size of one network."""

    num_weights: int
    macs: int
    """Multiply-adds of convolutions and matrix products in one forward pass of one row; training takes about three
    times as many."""


def measure_cost(model: ModelConfig, dataset: Dataset) -> Cost:
    """The cost of the network that this configuration builds for this data set; exact, and computed in milliseconds.

    One thread is used: a second one would wait for the cores that train, which is five times slower.

    Args:
        model: its network is built and discarded.
        dataset: the data set for which it is built.
    """
    if not isinstance(model, BackboneConfig) or dataset.backbone is None:
        return _measure(model, dataset)
    known, key = dataset.backbone.known, ("cost", dataset.image_shape, dataset.num_classes)  # no other field matters
    if key not in known:
        known[key] = _measure(model, dataset)
    return known[key]


def _measure(model: ModelConfig, dataset: Dataset) -> Cost:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng([]):
            return count_cost(model.build(dataset), dataset.image_shape)
    finally:
        torch.set_num_threads(threads)


def count_cost(network: nn.Module, shape: tuple[int, ...]) -> Cost:
    """The cost of a network on the CPU, counted in one forward pass of one row, which does not change the network.

    The pass is really computed, because it would take fifty times as long on the meta device.

    Args:
        network: float32; every `Conv2d`, `Linear` and `ColumnLinear` in it is counted.
        shape: shape of one row, (C, H, W) or (F,).
    """
    macs = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weight = layer.weight
        assert isinstance(weight, Tensor)
        places = output.shape[2:] if isinstance(layer, nn.Conv2d) else output.shape[1:-1]
        macs += weight.numel() * places.numel()

    counted = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear | ColumnLinear)]
    hooks = [layer.register_forward_hook(count) for layer in counted]
    was_training = network.training
    with torch.no_grad():
        row = torch.zeros(1, *shape)
        network.eval()
        _ = network.probe(row) if isinstance(network, NeighbourNet) else network(row)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return Cost(num_weights=sum(weight.numel() for weight in network.parameters()), macs=macs)
