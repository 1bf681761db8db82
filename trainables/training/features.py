"""The features of a frozen backbone, which are computed once for each image that no augmentation changes."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainables.augmentation.augment import AugmentConfig, Normalize
from trainables.data.dataset import Dataset, Split
from trainables.models.backbone import Pretrained, kept_features
from trainables.training.device import Numerics

EVALUATION_ROWS = {"cpu": 256, "cuda": 2048}
"""Rows per batch of an evaluation: as many as fit the cache of a CPU; on a GPU, enough to hide the launches."""


def with_features(
    dataset: Dataset, model: nn.Module, augmentation: AugmentConfig, *, normalize: Normalize, numerics: Numerics
) -> Dataset:
    """The data set with features in place of images if the network has a frozen backbone; otherwise as it is.

    Args:
        dataset: on its device.
        augmentation: training images that it changes stay as they are.
        normalize: gives the inputs of the network.
        numerics: how features are computed.
    """
    if not (isinstance(model, Pretrained) and model.frozen):
        return dataset
    model.eval()
    parts = {"validation": dataset.validation} | ({} if augmentation.changes else {"train": dataset.train})

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        def computed() -> Iterator[Tensor]:
            with numerics.autocast(x.device):
                for rows in x.split(EVALUATION_ROWS.get(x.device.type, 256)):
                    yield model.features(normalize(rows))

        key = (numerics, torch.get_num_threads(), dataset.mean, dataset.std)
        assert dataset.backbone is not None
        return kept_features(dataset.backbone, x, key, computed())

    found = {name: Split(x=features(part.x), y=part.y) for name, part in parts.items() if len(part)}
    return replace(dataset, **found)
