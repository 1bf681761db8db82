"""Loads the exported winner from final/model.safetensors and final/model.json, to predict new rows.

    model = load_model("runs/NAME/final")
    model.predict(images)                    # uint8 (N, C, H, W) -> probabilities (N, K)

Nothing is unpickled: safetensors holds numbers only, and their checksum must be the one in model.json.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import spaces.space
from analysis.model.files import exported_folder
from analysis.model.scale import scale_in
from analysis.scores.metrics import probabilities
from search.process.arguments import command
from search.storage.checking import build
from spaces.changes import Range, ReplacedRange
from spaces.ranges import change
from trainables.augmentation.normalize import Normalize
from trainables.data.architectures import check_architecture
from trainables.data.backbone import Backbone
from trainables.data.dataset import Dataset, Split
from trainables.data.grey_levels import Levels, levels_from
from trainables.data.options import STRETCHED, ImageOptions
from trainables.data.table import Column, columns_from, table_dtype
from trainables.training.device import choose_numerics

FORMAT = 1
ROWS = 256
"""Answered at once, which bounds the memory."""
_DECISIVE = (
    "space",
    "params",
    "task",
    "mean",
    "std",
    "image_shape",
    "images",
    "target_wide",
    "target_mean",
    "target_std",
)
_FIELDS = {"space": str, "params": dict, "task": str, "classes": list, "mean": list, "std": list, "image_shape": list}


@dataclass(frozen=True, kw_only=True)
class Model:
    """An exported network, and how its inputs are encoded and its outputs named."""

    network: nn.Module
    facts: dict[str, Any]
    """The content of model.json."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities; empty for a regression."""
        return tuple(self.facts["classes"])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (F,) of a row of a table."""
        return tuple(self.facts["image_shape"])

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the table that the model reads; empty for images. `trainables.data.table.encode` makes rows of it."""
        return columns_from(self.facts.get("columns", []))

    @property
    def levels(self) -> tuple[Levels, ...]:
        """Which values of deep images are black and white, as in training; empty where there were none."""
        return levels_from(self.facts.get("levels", []))

    @property
    def images(self) -> ImageOptions:
        """How an image becomes a square, as in training; models of earlier releases stretch it."""
        return build(ImageOptions, self.facts["images"]) if self.facts.get("images") else STRETCHED

    @torch.no_grad()
    def predict(self, x: Tensor, *, device: str = "cpu") -> np.ndarray:
        """Probabilities (N, K), or predictions (N,) in the unit of the target.

        Args:
            x: images uint8 (N, C, H, W), or rows of a table (N, F) as `encode` makes them.
            device: where to compute; another one may round differently.
        """
        torch.set_flush_denormal(True)
        place = torch.device(device)
        numerics = choose_numerics(place, self.image_shape)
        network = self.network.eval().to(place).to(memory_format=numerics.memory_format)  # pyright: ignore[reportCallIssue]
        dataset = stand_in(self.facts).to(place)
        normalize = Normalize(dataset, dtype=numerics.dtype, channels_last=numerics.channels_last)
        with numerics.autocast(place):
            outputs = torch.cat([network(normalize(rows.to(place))).float().cpu() for rows in x.split(ROWS)])
        if self.facts["task"] == "classification":
            return probabilities(outputs.numpy())
        if (scale := scale_in(self.facts)) is not None:
            return scale.to_units(outputs)[:, 0].numpy()
        outputs = outputs.to(dataset.train.y.dtype)
        return (outputs * self.facts["target_std"] + self.facts["target_mean"])[:, 0].numpy()


def stand_in(facts: dict[str, Any]) -> Dataset:
    """A data set without rows, of the shape, classes and normalisation that the network was built for."""
    shape = tuple(facts["image_shape"])
    columns = columns_from(facts.get("columns", []))
    numbers = torch.float64 if table_dtype(columns) == np.float64 else torch.float32
    targets = torch.float64 if facts.get("target_wide") else torch.float32
    empty = Split(
        x=torch.zeros(0, *shape, dtype=torch.uint8 if len(shape) == 3 else numbers),
        y=torch.zeros(0, dtype=torch.int64 if facts["task"] == "classification" else targets),
    )
    return Dataset(
        name=str(facts.get("dataset")),
        task=facts["task"],
        train=empty,
        validation=empty,
        classes=tuple(facts["classes"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        checksum=str(facts.get("dataset_checksum")),
        columns=columns,
        backbone=_backbone(facts),
    )


def _backbone(facts: dict[str, Any]) -> Backbone | None:
    """The architecture of the backbone, whose weights are exported with those of the network; None without one."""
    file = (facts.get("images") or {}).get("backbone")
    return Backbone(architecture=file["architecture"], sha256=file["sha256"]) if file else None


def config_of(facts: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """The configuration of an exported network.

    Args:
        facts: model.json.
        params: of the network.

    Raises:
        ValueError: the space as it is now has no such configuration.
    """
    if not facts.get("ranges"):
        return spaces.space.decode(facts["space"], params)
    try:
        ranges = [build(Range, one, name="ranges") for one in facts["ranges"]]
        replaced = [build(ReplacedRange, one, name="replaced") for one in facts.get("replaced", ())]
    except TypeError as error:
        raise ValueError(f"model.json is damaged ({error}); export the model again") from None
    return change(spaces.space.load(facts["space"]), ranges, replaced).decode(params)


def load_model(folder: str | Path) -> Model:
    """The exported network in this folder.

    Args:
        folder: a run, or its `final`.

    Raises:
        ValueError: nothing was exported, a file is damaged or was changed, or this release cannot build the network.
    """
    folder = exported_folder(folder)
    facts = _read_facts(folder)
    weights, stated = _read_weights(folder / "model.safetensors", sha256=facts.get("sha256"))
    _check_stated(facts, stated, folder / "model.json")
    network = config_of(facts, facts["params"]).model.build(stand_in(facts))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"the weights do not fit the network of space {facts['space']!r} ({reason}); the space or the release has "
            f"changed since the export; use the release that exported the model"
        ) from None
    _check_decisive(facts, stated, folder / "model.json")
    return Model(network=network.eval().requires_grad_(False), facts=facts)


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        facts = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); export again with: {command('analysis.final')} RUN") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise ValueError(
            f"{path} is not the description of a model; export it again with: {command('analysis.final')} RUN"
        )
    if facts["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {facts['format']}; this release reads formats up to {FORMAT}; upgrade rungwise"
        )
    for name, kind in _FIELDS.items():
        if not isinstance(facts.get(name), kind):
            raise ValueError(
                f"{path} must contain {name!r} as a {kind.__name__}, got {facts.get(name)!r}; export again"
            )
    try:
        columns_from(facts.get("columns", []))
        levels_from(facts.get("levels", []))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} must describe its columns and levels ({error}); export again") from None
    _check_numbers(facts, path)
    if facts["task"] == "classification" and not all(isinstance(name, str) for name in facts["classes"]):
        raise ValueError(f"{path} must name every class by a text, got {facts['classes']!r}; export again")
    return facts


def _check_numbers(facts: dict[str, Any], path: Path) -> None:
    """Raise ValueError unless the numbers by which inputs and answers are scaled can be computed with."""
    if facts["task"] not in ("classification", "regression"):
        raise ValueError(f"{path} must have the task classification or regression, got {facts['task']!r}; export again")
    scaling = ["target_mean", "target_std"] if facts["task"] == "regression" else []
    for name in ("mean", "std", *scaling):
        values = facts.get(name) if name in ("mean", "std") else [facts.get(name)]
        if not all(isinstance(one, int | float) and math.isfinite(one) for one in values or ()):
            raise ValueError(f"{path} must contain {name!r} as finite numbers, got {facts.get(name)!r}; export again")
    try:
        scale_in(facts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; export again") from None
    try:
        form = build(ImageOptions, facts.get("images") or {})
        if form.backbone:
            check_architecture(form.backbone.architecture)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} must say in 'images' how an image becomes a square ({error}); export again") from None
    shape = facts["image_shape"]
    if len(shape) not in (1, 3) or not all(isinstance(size, int) and 0 < size < 10**6 for size in shape):
        raise ValueError(f"{path} must contain 'image_shape' as one or three sizes, got {shape!r}; export again")


def decisive(facts: Mapping[str, Any]) -> str:
    """The parts of model.json that decide the predictions, as a text that is stored with the weights."""
    named = {name: facts.get(name) for name in _DECISIVE}
    named |= {name: facts[name] for name in ("conformal", "ensemble", "target_scale") if name in facts}
    return json.dumps(named, sort_keys=True)


def _read_weights(path: Path, *, sha256: object) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights by name, and the text stored with them."""
    try:
        data = path.read_bytes()
    except OSError:
        raise ValueError(f"{path} is missing; export again with: {command('analysis.final')} RUN") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} was refused: its sha256 is {found[:12]}, but model.json states {str(sha256)[:12]}; it is damaged "
            f"or was changed; restore it or export it again"
        )
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return safetensors.torch.load(data), header.get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a safetensors file ({error}); export again") from None


def _check_stated(facts: dict[str, Any], stated: dict[str, str], path: Path) -> None:
    """Raise ValueError unless model.json agrees with the text stored with the weights, under their checksum."""
    for name in ("classes", "columns", "levels"):
        found = facts.get(name, [])
        if stated.get(name, "[]") != json.dumps(found):
            shown = ", ".join(str(one.get("name", one) if isinstance(one, dict) else one) for one in found)
            raise ValueError(
                f"{path} names the {name} {shown[:80]!r}, but its weights were trained on others; restore it or "
                f"export it again"
            )


def _check_decisive(facts: dict[str, Any], stated: dict[str, str], path: Path) -> None:
    trained = json.loads(stated.get("decisive", "{}"))  # exports of earlier releases lack it
    found = {name: facts.get(name) for name in trained}
    if found == trained:
        return
    name = next(name for name in trained if found[name] != trained[name])
    here, there = found[name], trained[name]
    if isinstance(here, dict) and isinstance(there, dict):
        name = next(key for key in {**there, **here} if here.get(key) != there.get(key))
        here, there = here.get(name), there.get(name)
    raise ValueError(
        f"{path} has the {name} {str(here)[:40]}, but its weights were trained with {str(there)[:40]}; restore it or"
        " export it again"
    )
