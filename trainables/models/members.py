"""Several networks in one, which share almost all weights (TabM, Gorishniy et al. 2024, arXiv:2410.24210).

Each member sees the inputs on scales of its own, passes the same layers, and ends in a linear layer of its own. In
training every member is judged alone, so that members differ; the answer of the network is their mean. This is the
paper's variant with a single adapter (TabM-mini), and costs far fewer weights than as many networks.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.models.embeddings import ColumnLinear


class Members(nn.Module):
    """Inputs (N, inputs) to the outputs of each member (N, K, outputs) in training, and to their mean (N, outputs)
    otherwise: the mean prediction, or the logarithm of the mean probability of each class."""

    def __init__(
        self, layers: nn.Module, count: int, *, columns: Sequence[int], width: int, num_classes: int, signs: bool
    ) -> None:
        """Draw the scales from torch's random state.

        Args:
            layers: (N, K, inputs) to (N, K, width), the same for all members.
            count: K, the number of members.
            columns: how many inputs belong to each column of the table; they begin with the same scale.
            width: outputs of `layers`.
            num_classes: outputs of a member; 0 for a single number.
            signs: the scales begin as 1 or -1, which keeps inputs of any sign in proportion; otherwise as normal
                random numbers, as the paper has it where numbers are embedded.
        """
        super().__init__()
        drawn = torch.randn(count, len(columns))
        drawn = drawn.sign() if signs else drawn
        # a vector, like a bias, so that weight decay does not draw all scales to zero
        self.scales = nn.Parameter(drawn.repeat_interleave(torch.tensor(columns), dim=1).flatten())
        self.layers = layers
        self.head = ColumnLinear(count, width, max(1, num_classes))
        nn.init.zeros_(self.head.weight)  # the first answer is the mean, or every class alike
        nn.init.zeros_(self.head.bias)
        self.count, self._classes = count, num_classes > 0

    def forward(self, x: Tensor) -> Tensor:
        seen = x[:, None] * self.scales.view(self.count, -1)  # (N, K, inputs)
        outputs = self.head(self.layers(seen)).unflatten(1, (self.count, -1))
        if self.training:
            return outputs
        if not self._classes:
            return outputs.mean(1)
        return outputs.float().log_softmax(2).logsumexp(1) - math.log(self.count)


class MemberNorm(nn.BatchNorm1d):
    """Batch norm of members (N, K, width), each with statistics, scales and offsets of its own."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__(count * width)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1)).view_as(input)
