"""A pretrained network of torchvision from a file of the user's own, with a new output layer.

Frozen, only the output layer is trained; its features are computed once for each image that no augmentation changes.
Tuned, everything is trained, the backbone with a fraction of the learning rate.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.backbone import Backbone
from trainables.data.dataset import Dataset
from trainables.sources.weights import head_name

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Statistics of ImageNet, by which the inputs of a pretrained network are normalised."""
_MOST_KEPT = 4
"""Sets of features that a process keeps."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A network on the backbone of the data set."""

    tuned: bool = False
    """Train the backbone too; otherwise only the output layer."""
    lr_factor: float = 0.1
    """Learning rate of a tuned backbone as a fraction of that of the output layer."""
    head_dropout: float = 0.0
    """Chance that a feature is dropped."""

    batch_norm = True
    """The backbone normalises; so the gradient needs no limit."""

    def __post_init__(self) -> None:
        if not 0.0 < self.lr_factor <= 1.0:
            raise ValueError(f"lr_factor must lie in (0, 1], got {self.lr_factor}")
        if not 0.0 <= self.head_dropout < 1.0:
            raise ValueError(f"head_dropout must lie in [0, 1), got {self.head_dropout}")

    def build(self, dataset: Dataset) -> nn.Module:
        """The network for this data set's images and classes; the output layer starts at zero."""
        if dataset.backbone is None:
            raise ValueError("this configuration needs a pretrained network; give its file with --backbone")
        body, head = bare(dataset.backbone.architecture)
        for name, values in dataset.backbone.weights.items():
            body.state_dict()[name].copy_(torch.from_numpy(np.array(values)))
        return Pretrained(body, head.in_features, dataset, self)


class Pretrained(nn.Module):
    """From images as `Normalize` hands them out, or from their features, to logits."""

    def __init__(self, body: nn.Module, num_features: int, dataset: Dataset, config: BackboneConfig) -> None:
        super().__init__()
        self.body = body.requires_grad_(config.tuned)
        self.norm = nn.LayerNorm(num_features, elementwise_affine=False)
        output = nn.Linear(num_features, dataset.num_classes)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        self.head = nn.Sequential(nn.Dropout(config.head_dropout), output)
        self.frozen, self.lr_factor = not config.tuned, config.lr_factor
        # from the statistics of the data set to those of ImageNet; a grey channel becomes three
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
        usual_mean, usual_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        self.factor = nn.Buffer(std / usual_std)
        self.shift = nn.Buffer((mean - usual_mean) / usual_std)

    def train(self, mode: bool = True) -> "Pretrained":
        """Switch dropout and norms; a frozen backbone stays as it is used for prediction."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """The inputs of the output layer (N, F) for images (N, C, H, W)."""
        return self.norm(self.body(x * self.factor + self.shift))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x if x.ndim == 2 else self.features(x))


def is_frozen(network: nn.Module) -> bool:
    """Whether this is a network on a backbone that is not trained."""
    return isinstance(network, Pretrained) and network.frozen


def learnt(network: nn.Module) -> nn.Module:
    """The part of a network that training changes: all of it unless its backbone is frozen."""
    return network.head if isinstance(network, Pretrained) and network.frozen else network


def bare(architecture: str) -> tuple[nn.Module, nn.Linear]:
    """A network without its output layer, with random weights, and the output layer."""
    from torchvision.models import get_model

    network = get_model(architecture, weights=None)
    name = head_name(network)
    parent, _, last = name.rpartition(".")
    head = network.get_submodule(name)
    setattr(network.get_submodule(parent), last, nn.Identity())
    assert isinstance(head, nn.Linear)
    return network, head


def kept_features(backbone: Backbone, x: Tensor, key: object, parts: Iterator[Tensor]) -> Tensor:
    """The features of these images (N, F), float32; computed from `parts` if this process has not kept them.

    Args:
        backbone: keeps them.
        x: the images, which are kept as well, so that their place in memory identifies them.
        key: what else the features depend on.
        parts: features of the images, part by part.
    """
    found = (x.data_ptr(), tuple(x.shape), key)
    kept = backbone.known.setdefault("features", {})
    if found not in kept:
        features = torch.cat([part.float() for part in parts])
        while len(kept) >= _MOST_KEPT:
            with suppress(KeyError):
                kept.pop(next(iter(kept)))
        kept[found] = (x, features)
    return kept[found][1]
