"""Training speed of three small networks against plain and against good PyTorch, and as a share of the hardware's peak.

    python -m benchmarks.training_speed [--data-dir DATA] [--rounds 5] [--threads 1] [--widths 8 16 32]

Networks of three stages, 8-16-32, 16-32-64 and 32-64-128 channels: convolution, 2x2 max pooling, batch norm, ReLU,
dropout per stage; crop 4, flip, cutout 8; batch 128; SGD with Nesterov momentum. All train the same network from the
same start. Plain PyTorch: DataLoader with torchvision's PIL transforms, float32, (N, C, H, W), `.item()` per step;
at its best with two workers. Good PyTorch: tensors in memory, augmented as whole batches, the precision of ours and
channels-last, fused optimiser, no synchronisation. That all learn alike is shown by `benchmarks.training_agreement`.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import tyro
from rich.console import Console
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.harness import Comparison, Contestant, calibrate, compare, describe_conditions
from benchmarks.input_pipeline import BATCH_SIZE, CONFIG, PilImages, make_dataset
from trainables.data.dataset import Dataset, Split
from trainables.models.cnn import CnnConfig
from trainables.sources import load as data
from trainables.training.config import TrainConfig
from trainables.training.device import FLOAT32, choose_numerics
from trainables.training.optim import ScheduleConfig, SgdConfig
from trainables.training.training import Training

NETS = ((8, 16, 32), (16, 32, 64), (32, 64, 128))
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4
KERNELS = {
    "convolution": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "pooling": ("aten::max_pool2d_with_indices", "aten::max_pool2d_with_indices_backward"),
    "batch_norm": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
}
"""The kernels that take most of a step, by kind."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second in training."""

    data_dir: Path | None = None
    """Folder with CIFAR-10; random images when left out, whose losses say nothing."""
    rounds: int = 5
    """Measured turns of each contestant."""
    threads: int = 2
    """Threads of torch."""
    widths: tuple[int, ...] | None = None
    """Channels of the stages of one network; all three networks when left out."""
    num_images: int = 12_800
    """Images per turn; plain PyTorch takes a quarter of them."""
    num_blocks: int = 0
    """Further convolutions per stage."""
    kernel_size: Literal[3, 5] = 3
    """Side of the convolutions' kernels."""
    seed: int = 0


def load_images(options: Options) -> Dataset:
    """The images that all contestants train on, without validation rows."""
    if options.data_dir is None:
        return make_dataset(options.num_images, seed=options.seed)
    return data.load("cifar10", options.data_dir, train_size=options.num_images, validation_fraction=0)


class Peer:
    """A training loop as a user writes it."""

    def __init__(self, model: nn.Module, *, good: bool, device: str = "cpu") -> None:
        self.good, self.device = good, device
        numerics = choose_numerics(torch.device(device), (3, 32, 32)) if good else FLOAT32
        self.dtype, self._autocast = numerics.dtype, numerics.autocast(torch.device(device))
        self.model = model.to(device, memory_format=torch.channels_last if good else torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True, fused=good
        )
        self.loss = float("nan")

    def turn(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Train on these batches; returns the number of their images."""
        self.model.train()
        num_images, total = 0, 0.0
        running = torch.zeros((), device=self.device)
        num_steps = 0
        for x, y in ((x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)) for x, y in batches):
            with self._autocast:
                outputs = self.model(x)
            loss = F.cross_entropy(outputs.float(), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.good:
                running += loss.detach()
            else:
                total += loss.item()
            num_images += len(y)
            num_steps += 1
        self.loss = (running.item() if self.good else total) / num_steps
        return num_images


def good_batches(
    split: Split, mean: Tensor, std: Tensor, *, dtype: torch.dtype, batch_size: int = BATCH_SIZE
) -> Iterator[tuple[Tensor, Tensor]]:
    """Crop, flip and cutout by indexing whole batches of tensors in the memory of the device that they are on."""
    device = split.x.device
    padded = F.pad(split.x, (4, 4, 4, 4)).permute(0, 2, 3, 1).contiguous()  # (N, 40, 40, C)
    steps = torch.arange(32, device=device)
    for rows in torch.randperm(len(split), device=device).split(batch_size):
        if len(rows) < batch_size:
            return
        top, left = torch.randint(0, 9, (2, batch_size, 1), device=device)
        mirrored = torch.rand(batch_size, 1, device=device) < 0.5
        columns = torch.where(mirrored, left + 31 - steps, left + steps)
        x = padded[rows[:, None, None], (top + steps)[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        x = ((x / 255 - mean) / std).to(dtype)
        y0, x0 = torch.randint(0, 32, (2, batch_size, 1), device=device)
        inside = ((steps - y0).abs() <= 4)[:, None, :, None] & ((steps - x0).abs() <= 4)[:, None, None, :]
        yield x.masked_fill_(inside, 0), split.y[rows]


class Labelled(TorchDataset):
    """Transformed images with their labels."""

    def __init__(self, images: PilImages, y: Tensor) -> None:
        self.images, self.y = images, y.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.y[index]


def plain_loader(split: Split, *, num_workers: int, batch_size: int = BATCH_SIZE) -> DataLoader:
    """A DataLoader over torchvision's transforms of single images."""
    images = PilImages(split.x.permute(0, 2, 3, 1).numpy())
    return DataLoader(
        Labelled(images, split.y),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def make_config(widths: tuple[int, ...], options: Options) -> TrainConfig:
    """The network and recipe of all contestants."""
    blocks, size = options.num_blocks, options.kernel_size
    return TrainConfig(
        model=CnnConfig(widths=widths, block="plain", num_blocks=blocks, kernel_size=size, conv_dropout=0.1),
        optimizer=SgdConfig(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        schedule=ScheduleConfig(kind="constant", warmup=0.0),
        augmentation=CONFIG,
        batch_size=BATCH_SIZE,
    )


def measure_shares(training: Training) -> dict[str, float]:
    """Percent of one more epoch that is spent in kernels of each kind."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        training.run_epoch()
    events = profiler.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    seconds = {event.key: event.cpu_time_total for event in events}
    return {
        f"percent_in_{kind}": round(100 * sum(seconds[name] for name in names) / whole, 1)
        for kind, names in KERNELS.items()
    }


def compare_net(widths: tuple[int, ...], dataset: Dataset, options: Options, peaks: dict[str, float]) -> Comparison:
    """Ours against the peers on one network."""
    ours = Training(make_config(widths, options), dataset, epochs=options.rounds + 2, seed=options.seed)
    good, plain, workers = (Peer(copy.deepcopy(ours.model), good=good) for good in (True, False, False))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    part = Split(x=dataset.train.x[: options.num_images // 4], y=dataset.train.y[: options.num_images // 4])
    alone, helped = (plain_loader(part, num_workers=number) for number in (0, 2))

    def run_ours() -> float:
        ours.run_epoch()
        return len(ours.batches) * BATCH_SIZE

    contestants = [
        Contestant(name="ours", run=run_ours),
        Contestant(
            name="good", run=lambda: good.turn(good_batches(dataset.train, mean, std, dtype=good.dtype)), required=1
        ),
        Contestant(name="plain", run=lambda: plain.turn(alone), required=3),
        Contestant(name="plain, 2 workers", run=lambda: workers.turn(helped), required=3),
    ]
    name = f"training_speed_{'-'.join(map(str, widths))}_threads-{options.threads}"
    comparison = compare(name, contestants, unit="img/s", rounds=options.rounds, notes={})
    gflops = 6e-9 * ours.macs * max(comparison.rates["ours"])
    precision = ours.numerics.precision
    peak = peaks[f"{precision}_gflops_{options.threads}_threads"]
    comparison.notes.update(
        weights=ours.num_weights,
        macs_per_image=ours.macs,
        best_gflops=round(gflops),
        **{f"percent_of_{precision}_peak": round(100 * gflops / peak, 1)},
        **measure_shares(ours),
    )
    return comparison


def main() -> None:
    options = tyro.cli(Options)
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)
    calibration = calibrate()
    conditions = describe_conditions(seed=options.seed, threads=options.threads, rounds=options.rounds)
    torch.set_num_threads(options.threads)
    dataset = load_images(options)
    for widths in (options.widths,) if options.widths else NETS:
        comparison = compare_net(widths, dataset, options, calibration)
        comparison.publish(Console(width=120), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
