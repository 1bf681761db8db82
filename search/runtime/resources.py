"""How many trials fit on a machine or a cluster, and the CPUs and GPUs of each."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.process.allotted import allotted_cpus
from search.process.text import counted

_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")
"""Device files of GPUs: of NVIDIA, also on Tegra boards, of AMD, and of WSL."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """How many trials run at once, and what each of them gets."""

    slots: int
    cpus_per_trial: int
    gpus_per_trial: float
    elastic: bool = False
    """Whether the slots follow the nodes of a cluster; `slots` is then their number at the start."""


def plan_resources(*, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None) -> Resources:
    """The resources of each trial: the given ones, and for the others what this machine has.

    CPUs are those that this process may use. With GPUs a trial gets one of them and its share of the CPUs; without, one
    CPU.

    Raises:
        ValueError: more was asked for than the machine has.
    """
    allotted, gpus = allotted_cpus(), count_gpus()
    cpus = allotted.count
    here = f"{counted(cpus, 'CPU')} " + (
        f"that this process may use ({allotted.limit})" if allotted.limit else "of this machine"
    )
    gpus_per_trial = (1.0 if gpus else 0.0) if gpus_per_trial is None else gpus_per_trial
    if gpus_per_trial > gpus:
        raise ValueError(f"--gpus-per-trial must be at most the {gpus} GPUs of this machine, got {gpus_per_trial:g}")
    by_gpu = gpus * int(1 / gpus_per_trial + 1e-9) if gpus_per_trial else None  # a share is a part of a single GPU
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
"""The total resources of each living node: {"CPU": 8.0, "GPU": 1.0}."""


def living_nodes() -> Nodes:
    """The nodes of the connected cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_nodes(
    nodes: Nodes, *, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None
) -> Resources:
    """The resources of each trial on these nodes: with GPUs one of them and its share of the CPUs, else one CPU.

    A trial may need more than any node has, because a larger node may join.
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
    """Number of trials for which the nodes have room if nothing else runs there."""
    return sum(
        int(min(node.get("CPU", 0) // resources.cpus_per_trial, _capacity_by_gpu(node, resources.gpus_per_trial)))
        for node in nodes
    )


def _capacity_by_gpu(node: Mapping[str, float], gpus_per_trial: float) -> float:
    """Number of trials for which the GPUs of a node have room; each uses one GPU, so that of 0.4 two fit on it."""
    if not gpus_per_trial:
        return float("inf")
    return int(node.get("GPU", 0)) * int(1 / gpus_per_trial + 1e-9)
