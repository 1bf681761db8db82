"""That the contestants of `benchmarks.training_speed` learn alike: equal data, equal epochs, three seeds each.

    python -m benchmarks.training_agreement --data-dir DATA [--widths 8 16 32]

Ours, good and plain PyTorch train the same network from the same start on the same images for the same number of
epochs, untimed. Printed are the training loss of the last epoch and the accuracy on images held out from training.
"""

import copy
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import training_speed
from benchmarks.harness import describe_conditions, write_result
from benchmarks.training_speed import NETS, Peer, good_batches, make_config, plain_loader
from trainables.data.dataset import Dataset
from trainables.sources import load as data
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Options:
    """Losses and accuracies of the contestants after the same work."""

    data_dir: Path = Path("data")
    """Folder with CIFAR-10."""
    widths: tuple[int, ...] | None = None
    """Channels of the stages of one network; all three networks when left out."""
    num_images: int = 6_400
    """Images that are trained on."""
    num_held_out: int = 2_000
    """Images that are not."""
    epochs: int = 4
    """Passes over the images."""
    seeds: int = 3
    """Starts of each contestant."""
    threads: int = 2
    """Threads of torch."""


Outcome = tuple[float, float]
"""Training loss of the last epoch, and percent of the held-out images that are right."""


def train_all(widths: tuple[int, ...], dataset: Dataset, options: Options, *, seed: int) -> dict[str, Outcome]:
    """What each contestant comes to from the same start."""
    torch.manual_seed(seed)
    config = make_config(widths, training_speed.Options())
    ours = Training(config, dataset, epochs=options.epochs, seed=seed)
    peers = {name: Peer(copy.deepcopy(ours.model), good=name == "good") for name in ("good", "plain")}
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    loader = plain_loader(dataset.train, num_workers=0)
    for _ in range(options.epochs):
        ours.run_epoch()
        peers["good"].turn(good_batches(dataset.train, mean, std, dtype=peers["good"].dtype))
        peers["plain"].turn(loader)
    x, y = (dataset.validation.x / 255 - mean) / std, dataset.validation.y
    outcomes = {"ours": (ours.history[-1]["train_loss"], 100 * ours.history[-1]["accuracy"])}
    return outcomes | {name: (peer.loss, measure_accuracy(peer, x, y)) for name, peer in peers.items()}


@torch.no_grad()
def measure_accuracy(peer: Peer, x: Tensor, y: Tensor) -> float:
    """Percent of these normalised images that the network gets right, in the precision it was trained in."""
    peer.model.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=peer.good):
        outputs = torch.cat([peer.model(part) for part in x.split(250)])
    return 100 * (outputs.argmax(1) == y).float().mean().item()


def main() -> None:
    options = tyro.cli(Options)
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    rows = options.num_images + options.num_held_out
    fraction = options.num_held_out / rows
    dataset = data.load("cifar10", options.data_dir, train_size=rows, validation_fraction=fraction)
    console = Console(width=120)
    for widths in (options.widths,) if options.widths else NETS:
        net = "-".join(map(str, widths))
        runs = [train_all(widths, dataset, options, seed=seed) for seed in range(options.seeds)]
        table = Table("contestant", "training loss", "accuracy, %", "by seed", title=f"training_agreement_{net}")
        for name in runs[0]:
            losses, accuracies = zip(*(run[name] for run in runs), strict=True)
            by_seed = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
            table.add_row(name, f"{statistics.mean(losses):.3f}", f"{statistics.mean(accuracies):.1f}", by_seed)
        console.print(table)
        conditions = describe_conditions(seed=0, threads=options.threads, epochs=options.epochs, seeds=options.seeds)
        conditions |= {"num_images": options.num_images, "num_held_out": options.num_held_out}
        path = write_result(f"training_agreement_{net}", {"runs": runs, "conditions": conditions})
        console.print(f"written to {path}")


if __name__ == "__main__":
    main()
