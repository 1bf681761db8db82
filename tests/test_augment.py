"""Augmentation against torchvision's transforms v2, pixel by pixel, and the statistics of its draws."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from trainables.augmentation import boxes, pixels
from trainables.augmentation.augment import AugmentConfig, Batch, Batches
from trainables.augmentation.normalize import Normalize
from trainables.augmentation.pixels import PaddingMode
from trainables.data.dataset import Dataset, from_arrays
from trainables.sources.load import load

SHAPES = [(3, 32, 32), (1, 8, 8), (3, 12, 20)]


def draw_images(num_images: int, shape: tuple[int, ...], *, seed: int = 0) -> Tensor:
    """uint8 (N, H, W, C)"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_images, *shape[1:], shape[0]), dtype=torch.uint8, generator=generator)


def make_dataset(num_images: int = 40, shape: tuple[int, ...] = (3, 12, 12)) -> Dataset:
    """Images of noise; the label of a training image is its row number."""
    train, validation = draw_images(num_images, shape), draw_images(4, shape, seed=1)
    values = train.double().flatten(0, 2) / 255
    return from_arrays(
        {
            "name": "noise",
            "task": "classification",
            "train_x": train.numpy(),
            "train_y": np.arange(num_images),
            "validation_x": validation.numpy(),
            "validation_y": np.arange(4),
            "classes": tuple(map(str, range(num_images))),
            "mean": tuple(values.mean(0).tolist()),
            "std": tuple(values.std(0, correction=0).tolist()),
            "checksum": "",
        }
    )


def make_batches(dataset: Dataset, *, batch_size: int = 8, seed: int = 0, **config: Any) -> Batches:
    return Batches(dataset, AugmentConfig(**config), batch_size=batch_size, seed=seed)


def restore_pixels(dataset: Dataset, x: Tensor) -> Tensor:
    """Undoes the normalisation: uint8 (N, C, H, W)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    return ((x * std + mean) * 255).round().to(torch.uint8)


def planes(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["zero", "reflect"])
@pytest.mark.parametrize("padding", [1, 4])
def test_a_crop_is_the_reference_crop_of_the_padded_image(
    shape: tuple[int, ...], mode: PaddingMode, padding: int
) -> None:
    images = draw_images(64, shape)
    top, left = torch.randint(0, 2 * padding + 1, (2, 64), generator=torch.Generator().manual_seed(1))
    padded = reference.pad(planes(images), [padding], padding_mode="constant" if mode == "zero" else mode)
    expected = [
        reference.crop(image, int(y), int(x), *shape[1:]) for image, y, x in zip(padded, top, left, strict=True)
    ]
    crop = pixels.Crop(padding=padding, mode=mode)
    for _ in range(2):  # the second time in memory that has been used
        assert torch.equal(planes(crop(images, top, left)), torch.stack(expected))
    gathered = pixels._crop_by_gather(images, top, left, padding=padding, mode=mode)
    assert torch.equal(planes(gathered), torch.stack(expected))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flip_is_the_reference_flip_of_the_first_images_alone(shape: tuple[int, ...]) -> None:
    images = draw_images(16, shape)
    flipped = images.clone()
    pixels.flip_first(flipped, 5)
    assert torch.equal(planes(flipped[:5]), reference.horizontal_flip(planes(images[:5])))
    assert torch.equal(flipped[5:], images[5:])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rotation_is_the_reference_rotation_up_to_rounding(shape: tuple[int, ...]) -> None:
    images = draw_images(64, shape)
    degrees = 60 * torch.rand(64, generator=torch.Generator().manual_seed(1)) - 30
    expected = [
        reference.rotate(image, float(angle), InterpolationMode.BILINEAR)
        for image, angle in zip(planes(images), degrees, strict=True)
    ]
    difference = (planes(pixels.rotate(images, degrees)).int() - torch.stack(expected).int()).abs()
    assert difference.max() <= 1  # a value halfway between two grey levels may round either way
    assert (difference > 0).float().mean() < 0.001


def test_the_corners_of_a_turned_image_are_black_or_reflect_the_image() -> None:
    images = torch.full((2, 16, 16, 3), 200, dtype=torch.uint8)
    degrees = torch.tensor([45.0, -30.0])
    assert pixels.rotate(images, degrees).amin() == 0
    assert pixels.rotate(images, degrees, mode="reflect").unique().tolist() == [200]


def test_recolouring_changes_brightness_contrast_and_saturation_by_its_formula() -> None:
    images = draw_images(4, (3, 8, 8))
    same = torch.ones(4, 3)
    assert torch.equal(pixels.recolour(images, same), images)
    darker = pixels.recolour(images, torch.tensor([[0.8, 1.0, 1.0]] * 4)).float()
    kept = (images.float() > 60) & (images.float() < 255)
    means = images.float().mean((1, 2, 3), keepdim=True).expand_as(images)
    assert ((darker - images.float() + 0.2 * means)[kept].abs() <= 0.51).all()
    grey = pixels.recolour(images, torch.tensor([[1.0, 1.0, 0.0]] * 4))
    assert (grey.float().amax(3) - grey.float().amin(3)).max() <= 1
    flat = pixels.recolour(images, torch.tensor([[1.0, 0.0, 1.0]] * 4))
    assert torch.allclose(flat.float(), means, atol=0.51)


def test_each_image_of_an_epoch_gets_colours_of_its_own_and_without_them_none_are_drawn() -> None:
    dataset = make_dataset(40)
    drawn = make_batches(dataset, colour=0.4)._draw(1).colours
    assert drawn.shape == (40, 3)
    assert 0.6 <= drawn.amin() < drawn.amax() <= 1.4
    assert make_batches(dataset)._draw(1).colours.shape == (0, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_erasing_is_the_reference_erasing(shape: tuple[int, ...]) -> None:
    images, colour = draw_images(64, shape), (9, 200, 31)[: shape[0]]
    drawn = boxes.rectangles(shape, 64, probability=0.7, rng=np.random.default_rng(0))
    fill = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    expected = torch.stack(
        [
            reference.erase(image, y0, x0, y1 - y0, x1 - x0, fill)
            for image, (y0, y1, x0, x1) in zip(planes(images), drawn.tolist(), strict=True)
        ]
    )
    by_rows, by_mask = images.clone(), images.clone()
    pixels.erase(by_rows, torch.from_numpy(drawn), colour=colour)
    pixels._erase_by_mask(by_mask, torch.from_numpy(drawn), colour=colour)
    assert torch.equal(planes(by_rows), expected)
    assert torch.equal(planes(by_mask), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [True, False])
def test_normalisation_is_the_reference_normalisation(dtype: torch.dtype, *, channels_last: bool) -> None:
    dataset = make_dataset()
    found = Normalize(dataset, dtype=dtype, channels_last=channels_last)(dataset.train.x)
    scaled = reference.to_dtype(dataset.train.x.contiguous(), torch.float32, scale=True)
    expected = reference.normalize(scaled, list(dataset.mean), list(dataset.std))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=layout)
    # bfloat16 has 8 bits: scale, offset and result are each off by up to 2^-9 of values up to 1.8.
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.02)


def test_a_table_reaches_the_network_as_it_is_in_full_precision() -> None:
    arrays = make_dataset().arrays()
    table = np.random.default_rng(0).normal(5, 2, (40, 3)).astype(np.float32)
    arrays |= {"train_x": table, "validation_x": table[:4], "mean": (), "std": ()}
    dataset = from_arrays(arrays)
    assert torch.equal(Normalize(dataset, dtype=torch.bfloat16)(dataset.train.x), dataset.train.x)
    batch = next(Batches(dataset, AugmentConfig(), batch_size=8, seed=0, dtype=torch.bfloat16).epoch(1))
    rows = {row.tobytes() for row in table}
    assert batch.x.shape == (8, 3)
    assert all(row.numpy().tobytes() in rows for row in batch.x)


def test_without_augmentation_an_epoch_hands_out_each_row_once_and_unchanged() -> None:
    dataset = make_dataset()
    batches = list(make_batches(dataset).epoch(1))
    y = torch.cat([batch.y for batch in batches])
    assert len(batches) == len(make_batches(dataset)) == 5
    assert sorted(y.tolist()) == list(range(40))
    assert torch.equal(restore_pixels(dataset, torch.cat([batch.x for batch in batches])), dataset.train.x[y])


def test_rows_that_do_not_fill_a_batch_sit_out_and_a_small_data_set_is_one_batch() -> None:
    dataset = make_dataset(21)
    assert [len(batch.y) for batch in make_batches(dataset, batch_size=8).epoch(1)] == [8, 8]
    assert [len(batch.y) for batch in make_batches(dataset, batch_size=64).epoch(1)] == [21]


EVERYTHING = {
    "rotation": 5.0,
    "rotation_mode": "reflect",
    "colour": 0.3,
    "crop_padding": 2,
    "flip": "random",
    "cutout": 4,
    "erasing": 0.5,
    "mixup": 1.0,
    "cutmix": 1.0,
}


def as_tensors(batches: Batches, number: int) -> list[Tensor]:
    return [tensor for b in batches.epoch(number) for tensor in (b.x, b.y, b.y_mixed, b.weight) if tensor is not None]


@pytest.mark.parametrize(
    "config", [{}, {"flip": "alternating", "padding_mode": "reflect", "crop_padding": 2}, EVERYTHING]
)
def test_an_epoch_depends_on_seed_and_number_alone(config: dict[str, Any]) -> None:
    dataset = make_dataset()
    used = make_batches(dataset, **config)
    for number in (1, 2):
        as_tensors(used, number)
    again, fresh = as_tensors(used, 3), as_tensors(make_batches(dataset, **config), 3)
    assert all(torch.equal(a, b) for a, b in zip(again, fresh, strict=True))
    assert not torch.equal(again[1], as_tensors(used, 4)[1])
    assert not torch.equal(again[1], as_tensors(make_batches(dataset, seed=1, **config), 3)[1])


def flips(dataset: Dataset, number: int, flip: str) -> Tensor:
    """Which rows were flipped in an epoch, bool by row number."""
    flipped = torch.zeros(len(dataset.train), dtype=torch.bool)
    for batch in make_batches(dataset, flip=flip).epoch(number):
        shown, plain = restore_pixels(dataset, batch.x), dataset.train.x[batch.y]
        flipped[batch.y] = (shown == plain.flip(3)).flatten(1).all(1)
        assert torch.equal(torch.where(flipped[batch.y][:, None, None, None], plain.flip(3), plain), shown)
    return flipped


def test_alternating_flips_show_each_image_both_ways_in_any_two_epochs() -> None:
    dataset = make_dataset(400)
    first, second, third = (flips(dataset, number, "alternating") for number in (1, 2, 3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert abs(int(first.sum()) - 200) < 4 * math.sqrt(400 / 4)  # four standard deviations of a fair coin


def test_random_flips_are_half_of_the_images_and_differ_between_epochs() -> None:
    dataset = make_dataset(400)
    first, second = (flips(dataset, number, "random") for number in (1, 2))
    assert abs(int(first.sum()) - 200) < 4 * math.sqrt(400 / 4)
    assert abs(int((first == second).sum()) - 200) < 4 * math.sqrt(400 / 4)


def test_every_crop_offset_is_equally_likely() -> None:
    batches = make_batches(make_dataset(900), batch_size=900, crop_padding=1)
    draws = batches._draw(1)
    counts = torch.bincount(3 * draws.top + draws.left, minlength=9)
    chi_square = float(((counts - 100) ** 2 / 100).sum())
    assert chi_square < 26.1  # 99.9 % quantile with 8 degrees of freedom


def test_cutout_squares_are_centred_evenly_and_end_at_the_edge() -> None:
    drawn = boxes.squares((3, 32, 32), 20_000, side=8, rng=np.random.default_rng(0))
    y0, y1, x0, x1 = drawn.T
    assert drawn.min() == 0
    assert drawn.max() == 32
    assert ((y1 - y0 <= 8) & (y1 - y0 >= 4) & (x1 - x0 <= 8) & (x1 - x0 >= 4)).all()
    # Of the 32 centres 25 leave the side whole, the others cut it to 4, 5, 6, 7 and 7, 6, 5: mean length 240 / 32.
    assert np.mean(y1 - y0) == pytest.approx(240 / 32, abs=4 * np.std(y1 - y0) / math.sqrt(len(y0)))


def test_erased_rectangles_have_the_sizes_and_the_frequency_of_the_reference() -> None:
    height, width = 200, 200  # large, so that rounding does not matter
    drawn = boxes.rectangles((3, height, width), 20_000, probability=0.25, rng=np.random.default_rng(0))
    y0, y1, x0, x1 = drawn.T
    used = y1 > y0
    share = ((y1 - y0) * (x1 - x0) / (height * width))[used]
    ratio = ((y1 - y0)[used]) / (x1 - x0)[used]
    assert used.mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000))
    assert share.mean() == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    assert (share.min() > 0.018, share.max() < 0.34) == (True, True)
    assert (ratio.min() > 0.28, ratio.max() < 3.6) == (True, True)


def check_mixed(dataset: Dataset, batch: Batch, x: Tensor) -> None:
    assert batch.y_mixed is not None
    assert torch.equal(batch.y_mixed, batch.y.roll(1))
    torch.testing.assert_close(batch.x, x, rtol=0, atol=1e-5)


def test_mixup_blends_each_image_with_the_one_before_as_in_the_reference() -> None:
    dataset = make_dataset()
    normalize = Normalize(dataset)
    for batch in make_batches(dataset, mixup=0.4).epoch(1):
        plain = normalize(dataset.train.x[batch.y])
        assert batch.weight is not None
        check_mixed(dataset, batch, batch.weight * plain + (1 - batch.weight) * plain.roll(1, 0))


def test_cutmix_pastes_a_box_of_the_one_before_and_weighs_by_its_area() -> None:
    dataset = make_dataset()
    normalize = Normalize(dataset)
    for batch in make_batches(dataset, cutmix=1.0).epoch(1):
        plain = normalize(dataset.train.x[batch.y])
        pasted = (batch.x != plain).any(0).any(0)  # (H, W); noise differs everywhere
        rows, columns = pasted.any(1).nonzero(), pasted.any(0).nonzero()
        assert int(pasted.sum()) == len(rows) * len(columns)
        assert batch.weight is not None
        assert float(batch.weight) == pytest.approx(1 - int(pasted.sum()) / pasted.numel(), abs=1e-6)
        check_mixed(dataset, batch, torch.where(pasted, plain.roll(1, 0), plain))


def test_mixup_weights_follow_the_beta_distribution() -> None:
    weights, mix_boxes = make_batches(make_dataset(4000), batch_size=1, mixup=0.5)._draw_mixes(
        (3, 12, 12), np.random.default_rng(0)
    )
    assert mix_boxes == [None] * 4000
    assert weights.mean() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 8 / 4000))  # variance of Beta(0.5, 0.5) is 1/8
    assert weights.var() == pytest.approx(1 / 8, rel=0.05)


def test_with_both_on_each_batch_takes_one_of_mixup_and_cutmix() -> None:
    _, mix_boxes = make_batches(make_dataset(400), batch_size=1, mixup=1.0, cutmix=1.0)._draw_mixes(
        (3, 12, 12), np.random.default_rng(0)
    )
    assert abs(mix_boxes.count(None) - 200) < 4 * math.sqrt(400 / 4)


def test_batches_of_digits_are_normalised_over_the_epoch() -> None:
    dataset = load("digits", "")
    x = torch.cat([batch.x for batch in make_batches(dataset, batch_size=1).epoch(1)])
    assert float(x.mean()) == pytest.approx(0, abs=1e-4)
    assert float(x.std()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"flip": "vertical"}, "flip must be one of none, random, alternating, got 'vertical'"),
        ({"padding_mode": "edge"}, "padding_mode must be one of zero, reflect, got 'edge'"),
        ({"crop_padding": -1}, "crop_padding must be a whole number of pixels, at least 0, got -1"),
        ({"cutout": 2.5}, "cutout must be a whole number of pixels, at least 0, got 2.5"),
        ({"erasing": 1.2}, r"erasing must lie in \[0, 1\], got 1.2"),
        ({"mixup": float("nan")}, r"mixup must lie in \[0, 100\], got nan"),
        ({"colour": 1.0}, r"colour must lie in \[0, 0.9\], got 1.0"),
        ({"rotation_mode": "edge"}, "rotation_mode must be one of zero, reflect, got 'edge'"),
        ({"rotation": 181}, r"rotation must lie in \[0, 180\], got 181"),
    ],
)
def test_a_wrong_value_is_refused_with_its_rule(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**config)


def test_an_augmentation_that_does_not_fit_the_rows_is_refused() -> None:
    dataset = make_dataset()
    with pytest.raises(ValueError, match="crop_padding must be less than the 12 pixels of an image, got 12"):
        make_batches(dataset, crop_padding=12)
    with pytest.raises(ValueError, match="flip needs images, got rows of 5 numbers; set it to none"):
        AugmentConfig(flip="random").check((5,))
    for name in ("mixup", "cutmix"):
        with pytest.raises(ValueError, match=f"{name} needs images, got rows of 5 numbers; set it to 0"):
            AugmentConfig(**{name: 1.0}).check((5,))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make_batches(dataset, batch_size=0)
