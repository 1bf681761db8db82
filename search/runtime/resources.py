"""How many trials fit on a machine or a cluster, and the CPUs and GPUs of each."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.process.allotted import Cpus, allotted_cpus
from search.process.text import counted
from trainables.plain import is_plain

_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")
"""Device files of GPUs: of NVIDIA, also on Tegra boards, of AMD, and of WSL."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """How many trials run at once, and what each of them gets."""

    slots: int
    cpus_per_trial: int
    gpus_per_trial: float
    workers_per_trial: int = 1
    """Processes that train a trial together; they share its CPUs and GPUs equally."""
    by_configuration: bool = False
    """Whether each configuration decides the number of its workers; `slots` is then that of all workers at once."""
    elastic: bool = False
    """Whether the slots follow the nodes of a cluster; `slots` is then their number at the start."""

    @property
    def threads(self) -> int:
        """CPUs of each worker."""
        return self.cpus_per_trial // self.workers_per_trial

    @property
    def at_once(self) -> str:
        """What runs at once: `4 at once`, or `4 workers at once`."""
        return f"{self.slots} workers at once" if self.by_configuration else f"{self.slots} at once"

    @property
    def described(self) -> str:
        """What computes a trial: `4 threads`, or `2 workers of 4 threads`."""
        threads = counted(self.threads, "thread")
        return threads if self.workers_per_trial == 1 else f"{counted(self.workers_per_trial, 'worker')} of {threads}"


def plan_resources(
    *,
    concurrent: int | None,
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    workers_per_trial: int | None = None,
) -> Resources:
    """The resources of each trial: the given ones, and for the others what this machine has.

    CPUs are those that this process may use. With GPUs each worker of a trial gets one of them and its share of the
    CPUs; without, one CPU. A trial has one worker, or one for each of its GPUs.

    Raises:
        ValueError: more was asked for than the machine has.
    """
    allotted, gpus = allotted_cpus(), count_gpus()
    cpus, here = allotted.count, _described(allotted)
    workers, gpus_per_trial = _workers_and_gpus(workers_per_trial, gpus_per_trial, has_gpus=gpus > 0)
    if gpus_per_trial > gpus:
        raise ValueError(f"--gpus-per-trial must be at most the {gpus} GPUs of this machine, got {gpus_per_trial:g}")
    if workers > cpus:
        raise ValueError(f"--workers-per-trial must be at most the {here}, got {workers}")
    by_gpu = _fit_on_gpus(gpus, gpus_per_trial) if gpus_per_trial else None
    cpus_per_trial = _shared_by(workers, cpus_per_trial, default=cpus // (concurrent or by_gpu or cpus // workers))
    if cpus_per_trial > cpus:
        raise ValueError(f"--cpus-per-trial must be at most the {here}, got {cpus_per_trial}")
    room = min(cpus // cpus_per_trial, by_gpu or cpus)
    if concurrent is not None and concurrent > room:
        raise ValueError(
            f"--concurrent must be at most {room} with {cpus_per_trial} CPUs and {gpus_per_trial:g} GPUs for each trial"
            f" on the {here}, got {concurrent}"
        )
    return Resources(
        slots=concurrent or room,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        workers_per_trial=workers,
    )


def _described(cpus: Cpus) -> str:
    where = f"that this process may use ({cpus.limit})" if cpus.limit else "of this machine"
    return f"{counted(cpus.count, 'CPU')} {where}"


def _workers_and_gpus(workers: int | None, gpus: float | None, *, has_gpus: bool) -> tuple[int, float]:
    """Workers and GPUs of a trial; a worker cannot use two GPUs, nor can several share one."""
    if gpus is None:
        gpus = float(workers or 1) if has_gpus else 0.0
    if workers is None:
        workers = max(1, int(gpus))
    if gpus and max(workers, gpus) > 1 and workers != gpus:
        raise ValueError(
            f"--workers-per-trial must equal --gpus-per-trial {gpus:g}, because each worker uses a GPU, got {workers};"
            f" state one of them, or --gpus-per-trial 0 to train on CPUs"
        )
    return workers, gpus


def _shared_by(workers: int, cpus: int | None, *, default: int) -> int:
    """CPUs of a trial, an equal number for each of its workers."""
    if cpus is None:
        return workers * max(1, default // workers)
    if cpus % workers:
        raise ValueError(f"--cpus-per-trial must be a multiple of --workers-per-trial {workers}, got {cpus}")
    return cpus


def count_gpus() -> int:
    """CUDA devices of this machine."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(device)) for device in _GPU_DEVICES):
        return 0  # without asking torch, which takes seconds to import

    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


Nodes = Sequence[Mapping[str, float]]
"""The total resources of each living node: {"CPU": 8.0, "GPU": 1.0}."""


def living_nodes() -> Nodes:
    """The nodes of the connected cluster on which trials may begin."""
    import ray

    leaving = leaving_nodes()
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node.get("NodeID") not in leaving]


def leaving_nodes() -> frozenset[str]:
    """Ray's identifiers of the nodes that have been warned that they end; in plain mode none is known."""
    import ray

    if is_plain() or not ray.is_initialized():
        return frozenset()
    from ray._private.state import state

    return frozenset(state.get_draining_nodes())


def share_nodes(
    nodes: Nodes,
    *,
    concurrent: int | None,
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    workers_per_trial: int | None = None,
) -> Resources:
    """The resources of each trial on these nodes: for each worker, with GPUs one of them and its share of the CPUs,
    else one CPU.

    A trial may need more than any node has, because a larger node may join.
    """
    has_gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
    workers, gpus_per_trial = _workers_and_gpus(workers_per_trial, gpus_per_trial, has_gpus=has_gpus)
    share = 1
    if gpus_per_trial:
        fits = [(node.get("CPU", 0), _fit_on_gpus(node.get("GPU", 0), gpus_per_trial / workers)) for node in nodes]
        share = max(1, min((int(cpus // count) for cpus, count in fits if count), default=1))
    planned = Resources(
        slots=1,
        cpus_per_trial=_shared_by(workers, cpus_per_trial, default=workers * share),
        gpus_per_trial=gpus_per_trial,
        workers_per_trial=workers,
        elastic=concurrent is None,
    )
    return replace(planned, slots=concurrent or max(1, capacity(nodes, planned)))


def capacity(nodes: Nodes, resources: Resources) -> int:
    """Number of trials for which the nodes have room if nothing else runs there.

    The workers of a trial may be on several nodes, if no node has room for all.
    """
    gpus = resources.gpus_per_trial / resources.workers_per_trial
    rooms = (
        int(min(node.get("CPU", 0) // resources.threads, _fit_on_gpus(node.get("GPU", 0), gpus) if gpus else math.inf))
        for node in nodes
    )
    return sum(rooms) // resources.workers_per_trial


def _fit_on_gpus(gpus: float, each: float) -> int:
    """How often `each`, a part of one GPU or several whole ones, fits on a number of GPUs; of 0.4 two fit on one."""
    return int(gpus) * int(1 / each + 1e-9) if each <= 1 else int(gpus // each)
