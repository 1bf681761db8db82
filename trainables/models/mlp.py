"""Networks for tables: a multilayer perceptron, plain or residual, behind an encoder of the columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from torch import nn

from trainables.data.dataset import Dataset
from trainables.models.cnn import Residual
from trainables.models.embeddings import Encoder, EncoderConfig
from trainables.models.members import MemberNorm, Members
from trainables.models.neighbours import NeighbourNet

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """A network of layers of one width.

    plain: `depth` times linear, norm, activation, dropout. residual: a linear layer, then `depth` blocks of norm,
    linear, activation, dropout, linear added to their input (Gorishniy et al. 2021, arXiv:2106.11959), then norm and
    activation. Both end in a linear layer.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    block: Literal["plain", "residual"] = "plain"
    depth: int = 2
    width: int = 256
    """Units per layer."""
    batch_norm: bool = False
    activation: Literal["relu", "gelu", "silu"] = "relu"
    dropout: float = 0.0
    """Chance that a unit is dropped."""
    neighbours: int = 0
    """Nearest training rows that a prediction takes into account (`trainables/models/neighbours.py`); 0 for none."""
    members: int = 0
    """Networks in one, which share all layers but the first scales and the last layer (`trainables/models/members.py`);
    0 for a single network."""

    def __post_init__(self) -> None:
        for name in ("depth", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, choices in (("block", ("plain", "residual")), ("activation", tuple(_ACTIVATIONS))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        for name in ("neighbours", "members"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def build(self, dataset: Dataset) -> nn.Module:
        """The network for this table, its encoder fitted to the training rows, initialised from torch's random state.

        Raises:
            ValueError: the data set holds images.
        """
        if len(dataset.image_shape) != 1:
            raise ValueError(f"an MLP needs rows of a table, got images of shape {dataset.image_shape}")
        encoder = Encoder(self.encoder, dataset)
        layers = self._layers(encoder.num_outputs)
        if not self.neighbours:
            signs = self.encoder.embedding == "none"
            return nn.Sequential(encoder, *self._ended(layers, dataset, columns=encoder.sizes, signs=signs))
        embed = nn.Sequential(encoder, layers[0])
        body = nn.Sequential(*self._ended(layers[1:], dataset, columns=[1] * self.width, signs=True))
        return NeighbourNet(embed, body, dataset, width=self.width, count=self.neighbours, dropout=self.dropout)

    def _layers(self, num_inputs: int) -> list[nn.Module]:
        """All but the last layer."""
        if self.block == "plain":
            widths = [num_inputs, *[self.width] * self.depth]
            return [layer for pair in pairwise(widths) for layer in self._layer(*pair)]
        first = self._linear(num_inputs, self.width)
        return [first, *(self._block() for _ in range(self.depth)), *self._norm(), *self._activation()]

    def _layer(self, num_inputs: int, num_outputs: int) -> list[nn.Module]:
        return [self._linear(num_inputs, num_outputs), *self._norm(), *self._activation()]

    def _ended(
        self, layers: list[nn.Module], dataset: Dataset, *, columns: Sequence[int], signs: bool
    ) -> list[nn.Module]:
        """These layers and the last one; or the members that share them, see `Members`."""
        width, classes = self.width, dataset.num_classes
        if self.members:
            shared = nn.Sequential(*layers)
            return [Members(shared, self.members, columns=columns, width=width, num_classes=classes, signs=signs)]
        head = nn.Linear(width, max(1, classes))
        nn.init.zeros_(head.weight)  # the first answer is the mean, or every class alike
        nn.init.zeros_(head.bias)
        return [*layers, head]

    def _block(self) -> nn.Module:
        last = self._linear(self.width, self.width)
        nn.init.zeros_(last.weight)  # the block starts as the identity
        return Residual(nn.Sequential(*self._norm(), self._linear(self.width, self.width), *self._activation(), last))

    def _linear(self, num_inputs: int, num_outputs: int) -> nn.Linear:
        """He initialisation (He et al. 2015)."""
        layer = nn.Linear(num_inputs, num_outputs)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        return layer

    def _norm(self) -> list[nn.Module]:
        if not self.batch_norm:
            return []
        return [MemberNorm(self.members, self.width) if self.members else nn.BatchNorm1d(self.width)]

    def _activation(self) -> list[nn.Module]:
        return [_ACTIVATIONS[self.activation](), *([nn.Dropout(self.dropout)] if self.dropout else [])]
