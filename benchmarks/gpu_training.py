"""One trial on a GPU: images a second against plain and good PyTorch, and as a share of the GPU's peak.

    python -m benchmarks.gpu_training [--rounds 3]

Two networks on 50,000 random images in the form of CIFAR-10, batch 512: one of the size of ResNet-9 (three stages of
128, 256 and 512 channels, a residual block each), one of 32, 64 and 128 channels. Crop 4, flip, cutout 8; SGD with
Nesterov momentum. Plain PyTorch: DataLoader with torchvision's PIL transforms, float32, (N, C, H, W), `.item()` per
step, at its best number of loader processes; good PyTorch: tensors on the GPU, augmented as whole batches, bfloat16,
channels-last, fused optimiser, never waiting.
"""

import copy
import os
import sys
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from benchmarks.harness import Comparison, Contestant, calibrate_gpu, compare, describe_conditions
from benchmarks.input_pipeline import CONFIG, make_dataset
from benchmarks.training_speed import LR, MOMENTUM, WEIGHT_DECAY, Peer, good_batches, plain_loader
from search.process.arguments import parse
from trainables.data.dataset import Dataset, Split
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import SgdConfig
from trainables.training.training import Training

NETS = {
    "resnet9": CnnConfig(widths=(128, 256, 512), num_blocks=1),
    "32-64-128": CnnConfig(widths=(32, 64, 128), num_blocks=0),
}
BATCH_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second in training on a GPU."""

    rounds: int = 3
    """Measured turns of each contestant."""
    num_images: int = 50_000
    """Images per turn; plain PyTorch takes a fifth of them."""
    loaders: int = min(12, os.cpu_count() or 1)
    """Loader processes of plain PyTorch."""
    seed: int = 0


def make_config(model: CnnConfig) -> TrainConfig:
    """The recipe of all contestants."""
    optimizer = SgdConfig(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    return TrainConfig(
        model=model, optimizer=optimizer, augmentation=replace(CONFIG, flip="alternating"), batch_size=BATCH_SIZE
    )


def compare_net(name: str, dataset: Dataset, options: Options, peak: float) -> Comparison:
    """Ours against the peers on one network."""
    ours = Training(make_config(NETS[name]), dataset, epochs=options.rounds + 1, seed=options.seed, device="cuda")
    good, plain = (Peer(copy.deepcopy(ours.model), good=good, device="cuda") for good in (True, False))
    plain.model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    mean, std = (torch.tensor(values, device="cuda").view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    on_gpu = dataset.train.to("cuda")
    few = options.num_images // 5
    loader = plain_loader(
        Split(x=dataset.train.x[:few], y=dataset.train.y[:few]), num_workers=options.loaders, batch_size=BATCH_SIZE
    )

    def run_ours() -> float:
        ours.run_epoch()
        return len(ours.batches) * BATCH_SIZE

    def run_good() -> float:
        num_images = good.turn(good_batches(on_gpu, mean, std, dtype=good.dtype, batch_size=BATCH_SIZE))
        torch.cuda.synchronize()
        return num_images

    contestants = [
        Contestant(name="ours", run=run_ours),
        Contestant(name="good", run=run_good, required=1),
        Contestant(name="plain", run=lambda: plain.turn(loader), required=10),
    ]
    comparison = compare(f"gpu_training_{name}", contestants, unit="img/s", rounds=options.rounds, notes={})
    tflops = 6e-12 * ours.macs * max(comparison.rates["ours"])
    comparison.notes.update(
        weights=ours.num_weights,
        macs_per_image=ours.macs,
        best_tflops=round(tflops, 1),
        percent_of_bfloat16_peak=round(100 * tflops / peak, 1),
        last_epoch={part: value for part, value in ours.history[-1].items() if part.endswith("seconds")},
        cuda_graph=ours.history[-1]["cuda_graph"],
    )
    return comparison


def main() -> None:
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.gpu_training")
    torch.manual_seed(options.seed)
    calibration = calibrate_gpu()
    conditions = describe_conditions(seed=options.seed, rounds=options.rounds, loaders=options.loaders)
    dataset = make_dataset(options.num_images, seed=options.seed)
    for name in NETS:
        comparison = compare_net(name, dataset, options, calibration["bfloat16_tflops"])
        comparison.publish(Console(width=120), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
