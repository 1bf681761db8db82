"""Input pipeline: crop 4, flip, cutout 8 and normalise 32x32 colour images in batches of 128, against torchvision.

python -m benchmarks.input_pipeline [--rounds 5]

The peers are torchvision's PIL transforms in a DataLoader, in process and with two workers, and its transforms v2 on
whole batches, as documented and in the fastest order. On a batch v2 draws one offset, flip and square for all its
images; drawn for each image, as here and in the DataLoader, is the row `transforms v2 on images`. The floor is a memory
copy of the result. The share of a training step is that of a 32-64-128 network. Pixels are random: they do not change
the work.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.harness import Contestant, Interval, calibrate, compare, describe_conditions
from trainables.augmentation.augment import AugmentConfig, Batches
from trainables.models.cnn import CnnConfig
from trainables.sources.load import Dataset as TensorDataset
from trainables.sources.load import from_arrays
from trainables.training.optim import SgdConfig
from trainables.training.training import TrainConfig, Training

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CONFIG = AugmentConfig(crop_padding=4, flip="random", cutout=8)
BATCH_SIZE = 128
SQUARE = (8 / 32) ** 2
"""Share of an image that a cutout of 8 covers."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second of augmented, normalised batches."""

    rounds: int = 5
    """Measured turns of each contestant."""
    threads: int = 1
    """Threads of torch, as a trial on one core has."""
    num_images: int = 20_000
    """Images per turn; the PIL pipelines take an eighth of them."""
    seed: int = 0


def make_dataset(num_images: int, *, seed: int) -> TensorDataset:
    """Random images with random labels, in the form of CIFAR-10."""
    rng = np.random.default_rng(seed)
    arrays = {"name": "random", "task": "classification", "checksum": "", "mean": MEAN, "std": STD}
    arrays |= {"classes": tuple("0123456789")}
    for part, count in (("train", num_images), ("validation", 0)):
        arrays[f"{part}_x"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_y"] = rng.integers(0, 10, count)
    return from_arrays(arrays)


class PilImages(Dataset):
    """The images one by one through torchvision's transforms, as its tutorials write it."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
                v2.RandomErasing(p=1, scale=(SQUARE, SQUARE), ratio=(1, 1)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.fromarray(self.images[index]))


def compose_v2(*, fastest: bool) -> v2.Compose:
    """The same augmentation in transforms v2; fastest erases grey levels and normalises in place."""
    erase = v2.RandomErasing(p=1, scale=(SQUARE, SQUARE), ratio=(1, 1))
    change = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
    to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD, inplace=fastest)]
    return v2.Compose([*change, erase, *to_float] if fastest else [*change, *to_float, erase])


def iterate_transforms_v2(x: Tensor, transform: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """Batches out of images uint8 (N, 3, 32, 32) by transforms v2, each applied to the batch as a whole."""
    for rows in torch.randperm(len(x)).split(BATCH_SIZE):
        yield transform(x.index_select(0, rows))


def count_images(batches: Iterator[Tensor]) -> float:
    return float(sum(len(batch) for batch in batches))


def enter_ours(name: str, dataset: TensorDataset, dtype: torch.dtype) -> Contestant:
    batches = Batches(dataset, CONFIG, batch_size=BATCH_SIZE, seed=0, dtype=dtype)
    numbers = iter(range(1, 1_000_000))
    return Contestant(name=name, run=lambda: count_images(batch.x for batch in batches.epoch(next(numbers))))


def enter_peers(dataset: TensorDataset, num_images: int) -> list[Contestant]:
    images = dataset.train.x.permute(0, 2, 3, 1).numpy()
    pil = PilImages(images[: num_images // 8])
    in_process = DataLoader(pil, batch_size=BATCH_SIZE, shuffle=True)
    workers = DataLoader(pil, batch_size=BATCH_SIZE, shuffle=True, num_workers=2, persistent_workers=True)
    plain = dataset.train.x.contiguous()
    per_image = compose_v2(fastest=True)

    def one_by_one(x: Tensor) -> Tensor:
        return torch.stack([per_image(image) for image in x])

    source, target = torch.zeros(2, BATCH_SIZE, 3, 32, 32)

    def copy() -> float:
        for _ in range(num_images // BATCH_SIZE):
            target.copy_(source)
        return num_images // BATCH_SIZE * BATCH_SIZE

    return [
        Contestant(name="PIL DataLoader, in process", run=lambda: count_images(iter(in_process)), required=10),
        Contestant(name="PIL DataLoader, 2 workers", run=lambda: count_images(iter(workers)), required=10),
        Contestant(
            name="transforms v2 on batches, as documented",
            run=lambda: count_images(iterate_transforms_v2(plain, compose_v2(fastest=False))),
            required=3,
        ),
        Contestant(
            name="transforms v2 on batches, fastest",
            run=lambda: count_images(iterate_transforms_v2(plain, compose_v2(fastest=True))),
            required=3,
        ),
        Contestant(
            name="transforms v2 on images",
            run=lambda: count_images(iterate_transforms_v2(plain[: num_images // 8], one_by_one)),
        ),
        Contestant(name="floor: copy of a float32 batch", run=copy),
    ]


def measure_share(dataset: TensorDataset, *, rounds: int) -> Interval:
    """Percent of a training epoch of a 32-64-128 network, by rounds, that is spent on its input."""
    config = TrainConfig(
        model=CnnConfig(widths=(32, 64, 128)),
        optimizer=SgdConfig(lr=0.01),
        augmentation=CONFIG,
        batch_size=BATCH_SIZE,
    )
    training = Training(config, dataset, epochs=rounds + 1, seed=0)
    records = [training.run_epoch() for _ in range(rounds + 1)][1:]
    return Interval.of([100 * r["input_seconds"] / (r["input_seconds"] + r["compute_seconds"]) for r in records])


def main() -> None:
    options = tyro.cli(Options)
    torch.manual_seed(options.seed)
    calibration = calibrate()
    conditions = describe_conditions(seed=options.seed, threads=options.threads, rounds=options.rounds)
    torch.set_num_threads(options.threads)
    dataset = make_dataset(options.num_images, seed=options.seed)
    contestants = [
        enter_ours("ours, float32", dataset, torch.float32),
        enter_ours("ours, bfloat16", dataset, torch.bfloat16),
        *enter_peers(dataset, options.num_images),
    ]
    share = measure_share(make_dataset(4096, seed=options.seed), rounds=options.rounds)
    notes = {"percent_of_training_step (must be at most 5)": share.text(2)}
    comparison = compare("input_pipeline", contestants, unit="img/s", rounds=options.rounds, notes=notes)
    comparison.publish(Console(width=120), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
