"""What each trial gets of a machine or a cluster."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.process.allotted import allotted_cpus

_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")
"""Files by which Linux knows GPUs of NVIDIA, also on Tegra boards, of AMD, and those of Windows."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """How many trials run at once, and what each of them gets."""

    slots: int
    cpus_per_trial: int
    gpus_per_trial: float
    elastic: bool = False
    """Whether the slots follow the nodes of a cluster; `slots` is then their number at the start."""


def plan_resources(*, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None) -> Resources:
    """Fill in what was not given from what this machine has.

    CPUs are those that this process may use. With a GPU a trial gets a whole one and its share of the CPUs; without,
    one CPU.

    Raises:
        ValueError: more was asked for than the machine has.
    """
    allotted, gpus = allotted_cpus(), count_gpus()
    cpus = allotted.count
    here = f"{cpus} CPU{'s' * (cpus > 1)} " + (
        f"that this process may use ({allotted.limit})" if allotted.limit else "of this machine"
    )
    gpus_per_trial = (1.0 if gpus else 0.0) if gpus_per_trial is None else gpus_per_trial
    if gpus_per_trial > gpus:
        raise ValueError(f"--gpus-per-trial must be at most the {gpus} GPUs of this machine, got {gpus_per_trial:g}")
    by_gpu = gpus * int(1 / gpus_per_trial + 1e-9) if gpus_per_trial else None  # a part lies on one GPU
    if cpus_per_trial is None:
        cpus_per_trial = max(1, cpus // (concurrent or by_gpu or cpus))
    if cpus_per_trial > cpus:
        raise ValueError(f"--cpus-per-trial must be at most the {here}, got {cpus_per_trial}")
    room = min(cpus // cpus_per_trial, by_gpu or cpus)
    if concurrent is not None and concurrent > room:
        raise ValueError(
            f"--concurrent must be at most {room} with {cpus_per_trial} CPUs and {gpus_per_trial:g} GPUs for each trial"
            f" on the {here}, got {concurrent}"
        )
    return Resources(slots=concurrent or room, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)


def count_gpus() -> int:
    """CUDA devices of this machine."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(device)) for device in _GPU_DEVICES):
        return 0  # without asking torch, which takes seconds to import

    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


Nodes = Sequence[Mapping[str, float]]
"""What each living node has in all: {"CPU": 8.0, "GPU": 1.0}."""


def living_nodes() -> Nodes:
    """The nodes of the connected cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_nodes(
    nodes: Nodes, *, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None
) -> Resources:
    """What a trial gets on these nodes: where there are GPUs one of them with its share of the CPUs, else one CPU.

    More than any node has is no mistake: a larger one may join.
    """
    if gpus_per_trial is None:
        gpus_per_trial = float(any(node.get("GPU", 0) >= 1 for node in nodes))
    if cpus_per_trial is None:
        shares = [
            int(node.get("CPU", 0) // by_gpu) for node in nodes if (by_gpu := _capacity_by_gpu(node, gpus_per_trial))
        ]
        cpus_per_trial = max(1, min(shares, default=1)) if gpus_per_trial else 1
    planned = Resources(slots=1, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
    return Resources(
        slots=concurrent or max(1, capacity(nodes, planned)),
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        elastic=concurrent is None,
    )


def capacity(nodes: Nodes, resources: Resources) -> int:
    """Trials that the nodes could hold if nothing else ran there."""
    return sum(
        int(min(node.get("CPU", 0) // resources.cpus_per_trial, _capacity_by_gpu(node, resources.gpus_per_trial)))
        for node in nodes
    )


def _capacity_by_gpu(node: Mapping[str, float], gpus_per_trial: float) -> float:
    """A trial has its part on one GPU: of 0.4 each there fit two on a GPU, and four on two."""
    if not gpus_per_trial:
        return float("inf")
    return int(node.get("GPU", 0)) * int(1 / gpus_per_trial + 1e-9)
