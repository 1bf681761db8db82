"""Small networks on a GPU: a step replayed as a CUDA graph against the same step launched kernel by kernel.

    python -m benchmarks.gpu_launches [--rounds 3]

Batch 128, three stages of 8-16-32, 16-32-64 and 32-64-128 channels, a residual block each; random images in the form
of CIFAR-10. The floor of a step is the largest of its arithmetic at the GPU's measured peak, its bytes at the measured
rate of a copy (each activation written once and read twice, in bfloat16) and one launch of 5 microseconds.
"""

import sys
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.harness import Comparison, Contestant, calibrate_gpu, compare, describe_conditions
from benchmarks.input_pipeline import BATCH_SIZE, CONFIG, make_dataset
from benchmarks.training_speed import LR, NETS
from search.process.arguments import parse
from trainables.data.dataset import Dataset
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import SgdConfig
from trainables.training.training import Training

LAUNCH_SECONDS = 5e-6
"""Least time of a kernel launch."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second of launch-bound networks on a GPU."""

    rounds: int = 3
    """Measured epochs of each contestant."""
    num_images: int = 25_600
    """Images per epoch."""
    seed: int = 0


def floor_seconds(training: Training, calibration: dict[str, float]) -> float:
    """The least time that a step can take."""
    values = 0

    def count(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal values
        values += output.numel()

    hooks = [layer.register_forward_hook(count) for layer in training.model.modules() if not list(layer.children())]
    training.predict(training.dataset.train.x[:1])
    for hook in hooks:
        hook.remove()
    arithmetic = 6 * training.macs * BATCH_SIZE / (calibration["bfloat16_tflops"] * 1e12)
    memory = 3 * 2 * values * BATCH_SIZE / (calibration["copy_tb_per_second"] * 1e12)
    return max(arithmetic, memory, LAUNCH_SECONDS)


def compare_net(
    widths: tuple[int, ...], dataset: Dataset, options: Options, calibration: dict[str, float]
) -> Comparison:
    """Replayed against launched."""
    config = TrainConfig(
        model=CnnConfig(widths=widths, num_blocks=1),
        optimizer=SgdConfig(lr=LR),
        augmentation=CONFIG,
        batch_size=BATCH_SIZE,
    )
    form = {"epochs": options.rounds + 1, "seed": options.seed, "device": "cuda"}
    trainings = {
        "recorded step": Training(config, dataset, **form),
        "kernel by kernel": Training(config, dataset, **form, graphs=False),
    }

    def contestant(name: str, required: float | None) -> Contestant:
        def run() -> float:
            trainings[name].run_epoch()
            return len(trainings[name].batches) * BATCH_SIZE

        return Contestant(name=name, run=run, required=required)

    contestants = [contestant("recorded step", None), contestant("kernel by kernel", 3)]
    name = f"gpu_launches_{'-'.join(map(str, widths))}"
    comparison = compare(name, contestants, unit="img/s", rounds=options.rounds, notes={})
    ours = trainings["recorded step"]
    floor = floor_seconds(ours, calibration)
    comparison.notes.update(
        macs_per_image=ours.macs,
        step_microseconds=round(1e6 * BATCH_SIZE / max(comparison.rates["recorded step"])),
        floor_microseconds=round(1e6 * floor, 1),
        train_loss={name: round(training.history[-1]["train_loss"], 4) for name, training in trainings.items()},
        input_seconds=round(ours.history[-1]["input_seconds"], 4),
        compute_seconds=round(ours.history[-1]["compute_seconds"], 4),
        evaluation_seconds=round(ours.history[-1]["evaluation_seconds"], 4),
        cuda_graph=ours.history[-1]["cuda_graph"],
    )
    return comparison


def main() -> None:
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.gpu_launches")
    torch.manual_seed(options.seed)
    calibration = calibrate_gpu()
    conditions = describe_conditions(seed=options.seed, rounds=options.rounds)
    dataset = make_dataset(options.num_images, seed=options.seed)
    for widths in NETS:
        comparison = compare_net(widths, dataset, options, calibration)
        comparison.publish(Console(width=120), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
