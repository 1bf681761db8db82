"""The fixed first layer: patches of training images come out decorrelated, and training leaves the filters alone."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from tests.pictures import make_images
from tests.recipes import RECIPES
from trainables.augmentation.normalize import Normalize
from trainables.models.cnn import CnnConfig
from trainables.models.whitening import Whitening, whitenings
from trainables.training.training import Training


def smooth_images(number: int) -> torch.Tensor:
    """Images (N, 3, 12, 12) whose neighbouring pixels and channels are alike, as in photographs."""
    noise = torch.randn(number, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    colour = 0.3 * torch.randn(number, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return F.avg_pool2d(noise, 13, stride=1) * 5 + colour


def test_fitted_filters_decorrelate_patches_and_come_with_their_negatives() -> None:
    images = smooth_images(300)
    layer = Whitening(3, 2)
    layer.fit(images)
    found = layer(images)  # (N, 24, 11, 11)
    first, second = found.chunk(2, dim=1)
    assert torch.equal(first, -second)
    rows = first.permute(0, 2, 3, 1).reshape(-1, 12)
    assert layer.out_channels == 24
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.eye(12), atol=0.02, rtol=0)
    raw = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    assert (raw.T @ raw / len(raw) - torch.eye(12)).abs().max() > 0.5


def test_constant_images_give_finite_filters() -> None:
    layer = Whitening(1, 3)
    layer.fit(torch.zeros(4, 1, 8, 8))
    assert layer.weight.isfinite().all()


def test_training_fits_the_filters_to_its_rows_and_then_leaves_them() -> None:
    dataset = make_images((3, 8, 8), 40)
    training = Training(replace(RECIPES["short"], ema_decay=0.9), dataset, epochs=2, seed=0)
    (layer,) = whitenings(training.model)
    expected = Whitening(3, 2)
    expected.fit(Normalize(dataset)(dataset.train.x))
    before = layer.weight.clone()
    torch.testing.assert_close(before, expected.weight)
    for _ in range(2):  # the output layer starts at zero, so the first step changes nothing below it
        training.run_epoch()
    assert torch.equal(layer.weight, before)
    assert layer.bias is not None
    assert layer.bias.abs().max() > 0
    (averaged,) = whitenings(training.kept)
    assert torch.equal(averaged.weight, before)


def test_an_image_smaller_than_a_patch_has_no_such_layer() -> None:
    model = CnnConfig(widths=(8,), whitening=3).build(make_images((1, 2, 5), 4))
    assert not list(whitenings(model))
    assert model(torch.randn(4, 1, 2, 5)).shape == (4, 10)
