"""An ensemble of exported networks: predictions are the weighted mean of those of its members.

`write_ensemble` stores the weights of all members in ensemble.safetensors; model.json names the members and the sha256.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError

from analysis.model.load import Model, config_of, stand_in
from analysis.model.scale import fitted, with_scales
from analysis.model.write import weights_of
from search.process.arguments import command
from trainables.training.training import Training

FILE = "ensemble.safetensors"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of an ensemble."""

    name: str
    """Of its configuration: `trial-7`."""
    seed: int
    params: dict[str, Any]
    count: int
    """Its weight in the mean, in whole numbers."""


def write_ensemble(folder: Path, members: Sequence[tuple[Member, Training]]) -> dict[str, Any]:
    """Write the weights of the members; returns what model.json says of the ensemble."""
    tensors = {}
    for index, (_, training) in enumerate(members):
        tensors |= {f"{index}/{name}": tensor.clone() for name, tensor in weights_of(training).items()}
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    (folder / FILE).write_bytes(data)
    told = [vars(member) | fitted(training) for member, training in members]
    return {"sha256": hashlib.sha256(data).hexdigest(), "members": told}


@dataclass(frozen=True, kw_only=True)
class Ensemble(Model):
    """The exported networks of an ensemble, used like one model."""

    members: tuple[Model, ...]
    counts: tuple[int, ...]

    def predict(self, x: Any, *, device: str = "cpu") -> np.ndarray:
        """The weighted mean of the members' probabilities (N, K) or predictions (N,)."""
        found = [model.predict(x, device=device) for model in self.members]
        return mean_of(np.stack(found), self.counts)


def mean_of(outputs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The mean over the first axis with these weights, in the type of the outputs."""
    return np.average(outputs.astype(np.float64), axis=0, weights=np.asarray(counts)).astype(outputs.dtype)


def load_ensemble(model: Model, folder: Path) -> Ensemble:
    """The ensemble that was exported with this model.

    Args:
        model: the exported winner.
        folder: that contains model.json.

    Raises:
        ValueError: no ensemble was exported, or its file is damaged or was changed.
    """
    stated, path = model.facts.get("ensemble"), folder / FILE
    again = f"export it with: {command('analysis.final')} RUN --ensemble networks --again"
    if not isinstance(stated, dict):
        raise ValueError(f"this model was exported without an ensemble; {again}")
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != stated.get("sha256"):
            raise ValueError(f"{path} was refused: it is damaged or was changed; {again}")
        tensors = safetensors.torch.load(data)
    except OSError:
        raise ValueError(f"{path} is missing; {again}") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); {again}") from None
    found = []
    for index, member in enumerate(stated["members"]):
        network = config_of(model.facts, member["params"]).model.build(stand_in(model.facts))
        prefix = f"{index}/"
        network.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        own = with_scales(model.facts, member)
        found.append(replace(model, network=network.eval().requires_grad_(False), facts=own))
    counts = tuple(int(member["count"]) for member in stated["members"])
    return Ensemble(network=model.network, facts=model.facts, members=tuple(found), counts=counts)
