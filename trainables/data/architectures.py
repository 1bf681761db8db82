"""The architectures of torchvision that can be a backbone, by name; does not import torch."""

from collections.abc import Collection
from pathlib import Path

from trainables.data.names import did_you_mean
from trainables.data.options import BackboneFile

ARCHITECTURES = tuple(
    """
    alexnet convnext_tiny convnext_small convnext_base convnext_large densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
    efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
    mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf
    regnet_x_8gf regnet_x_16gf regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf
    regnet_y_16gf resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d
    resnext101_32x8d resnext101_64x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 swin_t
    swin_s swin_b swin_v2_t swin_v2_s swin_v2_b vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16
    vit_b_32 vit_l_16 vit_l_32 vit_h_14 wide_resnet50_2 wide_resnet101_2
    """.split()
)
"""Each takes colour images and ends in one linear layer, which is replaced by that of the classes."""
_MARKS = {
    "layer1.0.conv1.weight": ("resnet", "resnext", "wide_resnet"),
    "features.denseblock1.denselayer1.conv1.weight": ("densenet",),
    "trunk_output.block1.block1-0.proj.0.weight": ("regnet",),
    "stage2.0.branch1.0.weight": ("shufflenet",),
    "layers.0.weight": ("mnasnet",),
    "class_token": ("vit",),
    "features.0.weight": ("vgg", "alexnet"),
    "features.0.0.weight": ("convnext", "efficientnet", "mobilenet", "swin"),
}
"""A tensor that only these families have."""


def families(names: Collection[str]) -> tuple[str, ...]:
    """The architectures that have tensors of these names, as far as one name of each family says."""
    begin = tuple(family for mark, those in _MARKS.items() if mark in names for family in those)
    return tuple(name for name in ARCHITECTURES if name.startswith(begin)) if begin else ()


def fixed_side(architecture: str) -> int | None:
    """The only side of images that an architecture takes; None if it takes any."""
    return 224 if architecture.startswith("vit_") else None


def check_architecture(name: str) -> None:
    """Raise ValueError, with the nearest name, unless this is the name of an architecture."""
    if name not in ARCHITECTURES:
        hint = did_you_mean(name, ARCHITECTURES) or "; for example resnet18, mobilenet_v3_small or convnext_tiny"
        raise ValueError(f"--backbone names the architecture {name[:80]!r}, which cannot be a backbone{hint}")


def locate_backbone(text: str) -> BackboneFile:
    """The file in `resnet18:weights.pth` or `weights.pth`, with its absolute path."""
    name, colon, path = text.partition(":")
    named = bool(colon) and not {"/", "."} & set(name)
    return BackboneFile(
        path=str(Path(path if named else text).expanduser().absolute()), architecture=name if named else ""
    )


def check_side(architecture: str, side: int | None) -> None:
    """Raise ValueError unless an architecture takes images of this side, or of one that is still to be chosen."""
    if fixed_side(architecture) not in (None, side):
        raise ValueError(f"--image-size must be {fixed_side(architecture)} for {architecture}, got {side}")
