"""The scale of the target in model.json: written from a training, read back for predictions."""

from collections.abc import Mapping
from typing import Any

import torch

from trainables.training.target_scale import TargetScale, as_stored, scale_from
from trainables.training.training import Training


def scale_of(training: Training) -> dict[str, Any]:
    """The scale of the target as model.json states it, if it is another than the standard one."""
    stored = None if training.loss.scale is None else as_stored(training.loss.scale)
    return {"target_scale": stored} if stored else {}


def scale_in(facts: Mapping[str, Any]) -> TargetScale | None:
    """The scale of the target, if it is another than the standard one.

    Raises:
        ValueError: model.json describes none.
    """
    stored = facts.get("target_scale")
    if stored is None:
        return None
    return scale_from(stored, dtype=torch.float64 if facts.get("target_wide") else torch.float32)
