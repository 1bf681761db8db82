"""A first layer for images that decorrelates small patches of them, fitted to the training images and then fixed.

Source: Page 2018 ("How to train your ResNet", part 8); Jordan 2024 (arXiv 2404.00498), who doubles the filters by their
negatives, so that the activation that follows loses nothing.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

_ROWS = 1000
"""Training images that the filters are fitted to."""
_FLOOR = 5e-4
"""Added to the variance of each direction, so that the noise of the flattest ones is not amplified without limit."""


class Whitening(nn.Conv2d):
    """A convolution whose filters are the principal directions of patches, each scaled to unit variance, and their
    negatives.

    Only the biases are learnt. The weights are random until `fit` or a loaded state sets them.
    """

    def __init__(self, num_inputs: int, side: int) -> None:
        """
        Args:
            num_inputs: channels of the images.
            side: height and width of a patch; the output is side - 1 pixels smaller than the input.
        """
        super().__init__(num_inputs, 2 * num_inputs * side**2, side)
        self.weight.requires_grad_(False)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the filters from patches of normalised images, float32 (N, C, H, W); needs at least one."""
        patches = images.unfold(2, self.kernel_size[0], 1).unfold(3, self.kernel_size[1], 1)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.weight[0].numel()).float()
        variances, directions = torch.linalg.eigh((rows.T @ rows / len(rows)).double().cpu())
        filters = (directions / (variances.clamp(min=0.0) + _FLOOR).sqrt()).T.reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))


def fitted(model: nn.Module, images: Tensor, *, normalize: Callable[[Tensor], Tensor]) -> nn.Module:
    """The network, with such layers fitted to the first of its training images.

    Args:
        model: returned as it is if it has no such layer.
        images: uint8 (N, C, H, W); rows of another kind are not looked at.
        normalize: gives the inputs of the network, float32.
    """
    for layer in whitenings(model):
        layer.fit(normalize(images[:_ROWS]))
    return model


def whitenings(model: nn.Module) -> Iterator[Whitening]:
    """The layers of a network that are fitted to training images."""
    return (layer for layer in model.modules() if isinstance(layer, Whitening))
