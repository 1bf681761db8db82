"""A search with the default options on small image folders, against a convolutional network tuned by hand.

    python -m benchmarks.image_folders --keep FOLDER     # an interrupted one continues

Three folders are made: `shapes` (four shapes turned by any angle, of any colour, on a noisy ground), `textures` (five
patterns at any angle and scale, in long and tall images), and `letters` (eight letters of several sizes, half of them
on a transparent background). One class is rare. The search sees `train/` only; its winner is trained again on all of
it and scored on the sealed images of `test/`. So is the reference, a convolutional network on images of 64 x 64
pixels whose code is `reference` below and whose settings were chosen by hand. Target: within two points of accuracy.
Results are written after each folder.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from trainables.data.dataset import Dataset
from trainables.data.options import ImageOptions
from trainables.sources.load import load
from trainables.training.device import choose_numerics

RESULTS = Path(__file__).parent / "results" / "image_folders.json"
SHAPES = ("circle", "cross", "square", "triangle")
TEXTURES = ("stripes", "checks", "dots", "rings", "noise")
LETTERS = "ABEFHKRX"
Rows = tuple[Tensor, Tensor]
"""Images and labels."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to search."""

    folders: tuple[str, ...] = ("shapes", "textures", "letters")
    """Folders to make and search."""
    trials: int = 15
    seeds: int = 2
    """Fresh seeds of the winner and of the reference."""
    epochs: int = 60
    """Of the reference."""
    rows: int = 600
    """Training images of a folder, over all classes."""
    test_rows: int = 1200
    """Sealed test images; the standard error of an accuracy of 90 % is 0.9 points with 1,200."""
    keep: Path | None = None
    """Folder in which images and runs are kept; a later call continues there."""


def ground(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Smooth noise in dark colours."""
    width, height = size
    small = rng.integers(0, 110, (max(2, height // 8), max(2, width // 8), 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def bright(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour that stands out from the ground."""
    return tuple(int(value) for value in rng.integers(120, 256, 3))  # type: ignore[return-value]


def shape(rng: np.random.Generator, name: str) -> Image.Image:
    """One shape, turned by any angle, in an image of 40 to 90 pixels."""
    size = (int(rng.integers(40, 91)), int(rng.integers(40, 91)))
    image = ground(rng, size)
    radius = float(rng.uniform(0.18, 0.4)) * min(size)
    x, y = (float(rng.uniform(radius, side - radius)) for side in size)
    angle, colour = float(rng.uniform(0, 2 * math.pi)), bright(rng)
    draw = ImageDraw.Draw(image)

    def corners(count: int, turn: float = 0.0) -> list[tuple[float, float]]:
        angles = [angle + turn + 2 * math.pi * i / count for i in range(count)]
        return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]

    if name == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif name == "cross":
        for turn in (0.0, math.pi / 2):
            first, second = corners(2, turn)
            draw.line((*first, *second), fill=colour, width=max(2, round(radius / 3)))
    else:
        draw.polygon(corners(4 if name == "square" else 3), fill=colour)
    return noisy(image, rng, 18)


def texture(rng: np.random.Generator, name: str) -> Image.Image:
    """One pattern at any angle and scale, in a long or tall image."""
    width, height = int(rng.integers(48, 65)), int(rng.integers(64, 129))
    width, height = (width, height) if rng.random() < 0.5 else (height, width)
    angle, period = float(rng.uniform(0, math.pi)), float(rng.uniform(7, 14))
    y, x = np.mgrid[:height, :width].astype(float)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    u, v = u * 2 * math.pi / period + rng.uniform(0, 7), v * 2 * math.pi / period + rng.uniform(0, 7)
    centre = rng.uniform(0.2, 0.8, 2) * (height, width)
    values = {
        "stripes": np.sin(u),
        "checks": np.sign(np.sin(u) * np.sin(v)),
        "dots": np.sin(u) + np.sin(v) - 0.6,
        "rings": np.sin(np.hypot(y - centre[0], x - centre[1]) * 2 * math.pi / period),
        "noise": np.sin(u + 2 * rng.normal(size=u.shape)),
    }[name]
    share = (np.clip(values, -1, 1)[..., None] + 1) / 2
    first, second = (np.array(bright(rng)) * rng.uniform(0.3, 1) for _ in range(2))
    return noisy(Image.fromarray((share * first + (1 - share) * second).astype(np.uint8)), rng, 30)


def letter(rng: np.random.Generator, name: str) -> Image.Image:
    """A letter, turned by up to 25 degrees; half of them on a transparent background."""
    side = int(rng.integers(24, 57))
    font = ImageFont.load_default(size=side * float(rng.uniform(0.55, 0.85)))
    ink = Image.new("L", (side, side))
    place = side / 2 + rng.uniform(-0.08, 0.08, 2) * side
    ImageDraw.Draw(ink).text((place[0], place[1]), name, fill=255, font=font, anchor="mm")
    ink = ink.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC)
    dark = tuple(int(value) for value in rng.integers(0, 90, 3))
    if rng.random() < 0.5:
        image = Image.new("RGBA", (side, side), (*dark, 255))
        image.putalpha(ink)
        return image
    paper = Image.new("RGB", (side, side), tuple(int(value) for value in rng.integers(150, 256, 3)))
    paper.paste(dark, mask=ink)
    return noisy(paper, rng, 40)


def noisy(image: Image.Image, rng: np.random.Generator, level: float) -> Image.Image:
    """The image with noise on every pixel."""
    pixels = np.asarray(image).astype(float)
    return Image.fromarray(np.clip(pixels + rng.normal(scale=level, size=pixels.shape), 0, 255).astype(np.uint8))


MAKERS = {"shapes": (SHAPES, shape), "textures": (TEXTURES, texture), "letters": (tuple(LETTERS), letter)}


def make(root: Path, name: str, options: Options) -> None:
    """Write the folder; the last class is four times as rare as the others."""
    classes, maker = MAKERS[name]
    share = np.array([*[1.0] * (len(classes) - 1), 0.25])
    share /= share.sum()
    for part, rows, seed in (("train", options.rows, 1), ("test", options.test_rows, 2)):
        rng = np.random.default_rng((seed, len(name)))
        for label, count in zip(classes, np.maximum(6, share * rows).astype(int), strict=True):
            folder = root / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                image = maker(rng, label)
                image.save(folder / f"{number:04d}.{'png' if image.mode == 'RGBA' or number % 3 else 'jpg'}")


class Reference(nn.Module):
    """Four stages of two convolutions with batch norm, and global average pooling, as one writes it by hand."""

    def __init__(self, num_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (32, 64, 128, 192):
            for _ in range(2):
                layers += [nn.Conv2d(num_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                num_channels = width
            layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(num_channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def augmented(x: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Turned, shifted and, where a mirror image is of the same class, mirrored."""
    most = 20.0 if name == "letters" else 180.0
    angle = (2 * torch.rand(len(x), generator=generator) - 1) * math.radians(most)
    mirror = torch.ones(len(x))
    if name != "letters":
        mirror -= 2 * (torch.rand(len(x), generator=generator) < 0.5)
    shift = 0.2 * (torch.rand(len(x), 2, generator=generator) - 0.5)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [torch.stack([cos * mirror, -sin, shift[:, 0]], 1), torch.stack([sin * mirror, cos, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def reference(train: Rows, test: Rows, name: str, *, epochs: int, seed: int) -> float:
    """The test accuracy of the network tuned by hand: AdamW at 2e-3, one cycle, batches of 32, label smoothing."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = train
    model = Reference(x.shape[1], int(y.max()) + 1).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * (len(x) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps + 1)
    autocast = choose_numerics(torch.device("cpu"), tuple(x.shape[1:])).autocast(torch.device("cpu"))
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order[: len(x) // 32 * 32].split(32):
            with autocast:
                outputs = model(augmented(x[rows], name, generator).contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(outputs.float(), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad(), autocast:
        found = torch.cat([model(part).argmax(1) for part in test[0].split(256)])
    return float((found == test[1]).float().mean())


def references(train: Rows, test: Rows, name: str, options: Options, *, kept: Path) -> list[float]:
    """The test accuracy of the reference by seed, each in a process of its own; kept in a file."""
    if not kept.exists():
        with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
            asked = [
                pool.submit(reference, train, test, name, epochs=options.epochs, seed=seed)
                for seed in range(options.seeds)
            ]
            kept.write_text(json.dumps([one.result() for one in asked]))
    return json.loads(kept.read_text())


def pixels(x: Tensor, like: Dataset) -> Tensor:
    """Normalised images of 64 x 64 or less."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (like.mean, like.std))
    return ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def search(root: Path, runs: Path, name: str, options: Options) -> dict[str, Any]:
    """The final results of a search with the default options; one that was interrupted continues."""
    words = ["--runs-dir", str(runs), "--name", name, "--trials", str(options.trials)]
    begun = (runs / name / "run.json").exists()
    _call("search.run", *words, *(["--resume"] if begun else ["--space", "image_folder_arch", "--data-dir", str(root)]))
    results = runs / name / "final" / "final.json"
    if not results.exists():
        _call("analysis.final", str(runs / name), "--top", "1", "--seeds", str(options.seeds))
    return json.loads(results.read_text())


def _call(module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{module} ended with {done.returncode}")


def measure(root: Path, runs: Path, name: str, options: Options) -> dict[str, Any]:
    """The winner's accuracy and the reference's on the sealed images."""
    # both parts as training rows: the search, in its own process, never opens test/
    train = load("image_folder", root, validation_fraction=0.0, images=ImageOptions(size=64))
    sealed = root.parent / f"{name}-sealed"
    sealed.mkdir(exist_ok=True)
    shutil.copytree(root / "test", sealed / "train", dirs_exist_ok=True)
    (sealed / "test").mkdir(exist_ok=True)
    shutil.copytree(root / "train", sealed / "test", dirs_exist_ok=True)
    test = load("image_folder", sealed, validation_fraction=0.0, images=train.images)
    rows = [(pixels(part.train.x, train), part.train.y) for part in (train, test)]
    by_hand = references(rows[0], rows[1], name, options, kept=root.parent / f"{name}-reference.json")
    found = search(root, runs, name, options)
    winner = next(one for one in found["entrants"] if one["role"] != "augmented")
    ours = winner["by_seed"]["accuracy"]
    return {
        "folder": name,
        "train_rows": len(train.train),
        "test_rows": len(test.train),
        "form": train.images.sentence if train.images else "",
        "reference": by_hand,
        "winner": winner["name"],
        "winner_params": winner["params"],
        "accuracy": ours,
        "trials": options.trials,
        "difference_points": round(100 * (float(np.mean(ours)) - float(np.mean(by_hand))), 2),
    }


def main() -> None:
    """Make, search and compare the folders; results are written after each."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        base = options.keep or Path(scratch)
        for name in options.folders:
            root = base / name
            if not root.exists():
                make(root, name, options)
            found = measure(root, base / "runs", name, options)
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
            kept = [one for one in known if one["folder"] != name]
            RESULTS.write_text(json.dumps([*kept, found], indent=1) + "\n")
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
