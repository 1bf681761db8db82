"""The scales of inputs and target in model.json: written from a training, read back for predictions."""

from collections.abc import Mapping
from typing import Any

import torch

from trainables.training.target_scale import TargetScale, as_stored, scale_from
from trainables.training.training import Training

_FITTED = ("mean", "std", "target_mean", "target_std", "target_wide", "target_scale")


def fitted(training: Training) -> dict[str, Any]:
    """The scales of inputs and target that follow from the rows on which a network was trained, for model.json."""
    dataset = training.dataset
    told: dict[str, Any] = {"mean": list(dataset.mean), "std": list(dataset.std)}
    if dataset.task == "regression":
        targets = dataset.train.y
        told |= {"target_mean": targets.mean().item(), "target_std": targets.std(correction=0).item()}
        told |= {"target_wide": targets.dtype == torch.float64}  # float32 would lose digits of the target
        if training.loss.scale is not None and (stored := as_stored(training.loss.scale)):
            told |= {"target_scale": stored}
    return told


def with_scales(facts: Mapping[str, Any], member: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a model with the scales of another one of the same columns, as `fitted` states them."""
    return {**facts, "target_scale": None, **{name: member[name] for name in _FITTED if name in member}}


def scale_in(facts: Mapping[str, Any]) -> TargetScale | None:
    """The scale of the target, if it is another than the standard one.

    Raises:
        ValueError: model.json describes none.
    """
    stored = facts.get("target_scale")
    if stored is None:
        return None
    return scale_from(stored, dtype=torch.float64 if facts.get("target_wide") else torch.float32)
