"""Small convolutional networks for images of any size: plain or residual stages, with or without batch norm."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.data.dataset import Dataset
from trainables.models.whitening import Whitening

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
_MOMENTS = {  # E[f(z)^2] for z ~ N(0, 1), and for the maximum and the mean of four such z
    "relu": {"stride": 0.500, "max": 1.544, "average": 0.125},
    "gelu": {"stride": 0.425, "max": 1.348, "average": 0.084},
    "silu": {"stride": 0.356, "max": 1.088, "average": 0.072},
}


@dataclass(frozen=True, kw_only=True)
class CnnConfig:
    """A network of stages. Each opens with a convolution that sets the width and halves the side; blocks follow.

    A side that has reached 1 is not halved again, so every configuration fits every image.
    """

    whitening: int = 0
    """Side in pixels of the patches that a fixed first layer decorrelates (`Whitening`); 0 for no such layer."""
    widths: tuple[int, ...]
    """Channels of each stage; multiples of 8, for which matrix units are fast."""
    num_blocks: int = 1
    """Blocks per stage, after the opening convolution."""
    block: Literal["plain", "residual"] = "residual"
    """plain: one convolution; residual: two, added to their input."""
    kernel_size: Literal[3, 5] = 3
    batch_norm: bool = True
    norm_scale: bool = True
    """Whether batch norm learns a scale for each channel; it always learns a shift."""
    start: Literal["he", "identity"] = "he"
    """First weights: random (He et al. 2015), or, for each convolution outside of residual branches, its first filters
    copy their input (Zagoruyko and Komodakis 2017, "DiracNets") and only further ones are random."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    pooling: Literal["max", "average", "stride"] = "max"
    """How the side is halved: pooling after the opening convolution, or a stride of 2 within it."""
    conv_dropout: float = 0.0
    """Chance that a whole channel is dropped, after each stage."""
    head_pooling: Literal["average", "max"] = "average"
    """What remains of each channel after the last stage: its mean or its largest value."""
    head_width: int = 0
    """Units of the fully connected layer between the global pooling and the output; 0 for none."""
    head_dropout: float = 0.0
    """Chance that an input of the output layer is dropped."""
    max_side: int = 0
    """Images with a longer side are first halved by strided convolutions until both sides fit, so that the cost of the
    stages does not grow with the size of the images; 0 for never."""

    def __post_init__(self) -> None:
        if not self.widths or any(width < 8 or width % 8 for width in self.widths):
            raise ValueError(f"widths must be one or more positive multiples of 8, got {self.widths}")
        if self.num_blocks < 0:
            raise ValueError(f"num_blocks must be at least 0, got {self.num_blocks}")
        _check_choice("block", self.block, ("plain", "residual"))
        _check_choice("kernel_size", self.kernel_size, (3, 5))
        _check_choice("activation", self.activation, tuple(_ACTIVATIONS))
        _check_choice("pooling", self.pooling, ("max", "average", "stride"))
        _check_choice("head_pooling", self.head_pooling, ("average", "max"))
        _check_choice("start", self.start, ("he", "identity"))
        if self.whitening not in (0, 2, 3):
            raise ValueError(f"whitening must be 0, 2 or 3, got {self.whitening}")
        for name in ("conv_dropout", "head_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.max_side < 0:
            raise ValueError(f"max_side must be at least 0, got {self.max_side}")
        if self.head_width < 0:
            raise ValueError(f"head_width must be at least 0, got {self.head_width}")

    def build(self, dataset: Dataset) -> nn.Module:
        """The network for this data set's images and classes, initialised from torch's random state."""
        num_channels, *side = dataset.image_shape
        stages: list[nn.Module] = []
        if self.whitening and min(side) >= self.whitening:
            first = Whitening(num_channels, self.whitening)
            stages.append(nn.Sequential(first, _activation(self)))
            num_channels, side = first.out_channels, [length - self.whitening + 1 for length in side]
        while self.max_side and max(side) > self.max_side:
            stages.append(_stem(self, num_channels))
            num_channels, side = round_width(self.widths[0] / 2), [(length + 1) // 2 for length in side]
        for width in self.widths:
            stages.append(_stage(self, num_channels, width, (side[0], side[1])))
            num_channels, side = width, [_halved(length, self.pooling) for length in side]
        network = nn.Sequential(*stages, _head(self, num_channels, max(1, dataset.num_classes)))
        initialise(network, self)
        return network


class Residual(nn.Module):
    """`x + branch(x)`; the branch starts at zero, so the block starts as the identity.

    No activation follows the sum (Gross and Wilber 2016): cheaper, and a signal passes any number of blocks unchanged.
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # (N, C, H, W)


class GlobalAverage(nn.Module):
    """The mean over all pixels, (N, C, H, W) to (N, C).

    It is a pooling window, because the gradient of `mean` is not channels-last, which slows all layers before it.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1)


class GlobalMax(nn.Module):
    """The largest value over all pixels, (N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, (x.shape[2], x.shape[3])).flatten(1)


class ChannelDropout(nn.Module):
    """Drops whole channels: `Dropout2d` with one small mask, which keeps bfloat16 and channels-last as they are."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], x.shape[1], 1, 1), self.chance)


def round_width(width: float) -> int:
    """The nearest multiple of 8, and at least 8."""
    return max(8, 8 * round(width / 8))


def initialise(network: nn.Module, config: CnnConfig) -> None:
    """Set all weights so that signals keep their scale from layer to layer, with batch norm or without.

    He initialisation (He et al. 2015): std = (moment * fan_in)^-1/2, with the second moment of the inputs of a layer
    after pooling and activation. The last layer of every residual branch is zero: its norm (Goyal et al. 2017) or,
    without norms, its convolution (Zhang et al. 2019, "Fixup"). The output layer is zero as well, so that the first
    loss is log(classes).
    """
    _scale_weights(network, config, moment=1.0)
    output = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(output.weight)


def _scale_weights(module: nn.Module, config: CnnConfig, *, moment: float, residual: bool = False) -> float:
    """Initialise the layers of a sequence whose input has this second moment, and return that of its output."""
    pooling = "stride"
    for layer in module.children():
        match layer:
            case Whitening():
                pass  # fitted to the training images
            case nn.Conv2d() | nn.Linear():
                nn.init.normal_(layer.weight, std=(moment * layer.weight[0].numel()) ** -0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
                if config.start == "identity" and isinstance(layer, nn.Conv2d) and not residual:
                    nn.init.dirac_(layer.weight[: layer.in_channels])
            case nn.MaxPool2d() | nn.AvgPool2d():
                pooling = config.pooling
            case nn.ReLU() | nn.GELU() | nn.SiLU():
                moment = _MOMENTS[config.activation][pooling]
            case Residual():  # starts as the identity
                _scale_weights(layer.branch, config, moment=moment, residual=True)
                last = [part for part in layer.branch.children() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)][-1]
                nn.init.zeros_(last.weight)
            case nn.Sequential():
                moment = _scale_weights(layer, config, moment=moment)
    return moment


def _stem(config: CnnConfig, num_inputs: int) -> nn.Sequential:
    """Halves the side with half the channels of the first stage."""
    width = round_width(config.widths[0] / 2)
    return nn.Sequential(_convolution(config, num_inputs, width, (2, 2)), *_norm(config, width), _activation(config))


def _stage(config: CnnConfig, num_inputs: int, width: int, side: tuple[int, int]) -> nn.Sequential:
    window = (min(2, side[0]), min(2, side[1]))
    strided = config.pooling == "stride"
    layers: list[nn.Module] = [_convolution(config, num_inputs, width, window if strided else (1, 1))]
    if not strided and max(window) > 1:  # before norm and activation, which then touch a quarter of the values
        layers.append((nn.MaxPool2d if config.pooling == "max" else nn.AvgPool2d)(window))
    layers += [*_norm(config, width), _activation(config)]
    layers += [_block(config, width) for _ in range(config.num_blocks)]
    if config.conv_dropout:
        layers.append(ChannelDropout(config.conv_dropout))
    return nn.Sequential(*layers)


def _block(config: CnnConfig, width: int) -> nn.Module:
    first = [_convolution(config, width, width), *_norm(config, width), _activation(config)]
    if config.block == "plain":
        return nn.Sequential(*first)
    last = [_convolution(config, width, width), *_norm(config, width, last_of_branch=True)]
    return Residual(nn.Sequential(*first, *last))


def _head(config: CnnConfig, num_inputs: int, num_outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [GlobalMax() if config.head_pooling == "max" else GlobalAverage()]
    if config.head_width:
        layers += [nn.Linear(num_inputs, config.head_width), _activation(config)]
    if config.head_dropout:
        layers.append(nn.Dropout(config.head_dropout))
    return nn.Sequential(*layers, nn.Linear(config.head_width or num_inputs, num_outputs))


def _convolution(config: CnnConfig, num_inputs: int, width: int, stride: tuple[int, int] = (1, 1)) -> nn.Conv2d:
    size = config.kernel_size
    return nn.Conv2d(num_inputs, width, size, stride=stride, padding=size // 2, bias=not config.batch_norm)


def _norm(config: CnnConfig, width: int, *, last_of_branch: bool = False) -> list[nn.Module]:
    if not config.batch_norm:
        return []
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad_(config.norm_scale or last_of_branch)  # that of a branch starts at zero
    return [norm]


def _activation(config: CnnConfig) -> nn.Module:
    return _ACTIVATIONS[config.activation]()


def _halved(length: int, pooling: str) -> int:
    return (length + 1) // 2 if pooling == "stride" else max(1, length // 2)  # a stride rounds up, a window down


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
