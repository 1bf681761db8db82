"""A pretrained network as it travels with the data: its architecture and its weights as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The weights of a pretrained network."""

    architecture: str
    sha256: str = ""
    """Of the file."""
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By their names in torchvision, without the output layer; empty if the weights of an exported model follow."""
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Costs and features that were computed in this process."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "known": {}}

    @property
    def num_weights(self) -> int:
        return sum(values.size for values in self.weights.values())
