"""Test-time augmentation: which views of an image are averaged, and with which weights."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from analysis.scores.answers import Views, predict_rows, shifts


def test_shifted_images_move_by_one_pixel_and_mirror_at_the_edge() -> None:
    x = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    up, down = shifts(x)
    assert up[0, 0].tolist() == [[5, 6, 7, 6], [9, 10, 11, 10], [5, 6, 7, 6]]
    assert down[0, 0].tolist() == [[5, 4, 5, 6], [1, 0, 1, 2], [5, 4, 5, 6]]
    assert all(torch.equal(view, torch.ones(2, 3, 1, 1)) for view in shifts(torch.ones(2, 3, 1, 1)))


@pytest.mark.parametrize("views", ["", "flip", "six views"])
def test_the_views_of_an_image_are_averaged_with_their_weights(views: Views) -> None:
    x = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))

    def outputs(images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 4) that depend on the upper left corner."""
        return images[:, :, 0, 0].float() / 100 @ weights

    def found(images: torch.Tensor) -> np.ndarray:
        return torch.softmax(outputs(images), 1).numpy()

    training = SimpleNamespace(predict=outputs, dataset=SimpleNamespace(task="classification"))
    plain, mirrored = found(x), found(x.flip(3))
    # in the corner of a shifted image: the pixel below and right of the corner, and the same one again, mirrored
    moved = [found(x[:, :, 1:, 1:]), found(x[:, :, 1:, 1:])]
    turned = [found(view.flip(3)) for view in shifts(x)]
    expected = {
        "": plain,
        "flip": (plain + mirrored) / 2,
        "six views": (plain + mirrored) / 4 + sum([*moved, *turned]) / 8,
    }
    answers = predict_rows(cast(Any, training), x, views=views)
    np.testing.assert_allclose(answers.outputs, expected[views], rtol=1e-5)
