"""How many trials run at once on a cluster: as many as its nodes have room for, now."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.cluster import Resources, attached, plan_resources
from search.options import Options

LOOK_SECONDS = 1
Nodes = Sequence[Mapping[str, float]]
"""What each living node has in all: {"CPU": 8.0, "GPU": 1.0}."""


def living_nodes() -> Nodes:
    """The nodes of the connected cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def plan(options: Options) -> Resources:
    """What these options give each trial, here or on the cluster they name.

    Raises:
        ValueError: this machine has less, or there is no cluster.
    """
    wishes: dict[str, Any] = {
        name: getattr(options, name) for name in ("concurrent", "cpus_per_trial", "gpus_per_trial")
    }
    return plan_resources(**wishes) if options.address is None else plan_on_cluster(options.address, **wishes)


def plan_on_cluster(
    address: str, *, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None
) -> Resources:
    """Fill in what was not given from what the cluster at `address` has.

    Raises:
        ValueError: there is no cluster.
    """
    with attached(address):
        nodes = living_nodes()
    return share_nodes(nodes, concurrent=concurrent, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)


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
            int(node.get("CPU", 0) // by_gpu) for node in nodes if (by_gpu := _places_by_gpu(node, gpus_per_trial))
        ]
        cpus_per_trial = max(1, min(shares, default=1)) if gpus_per_trial else 1
    planned = Resources(slots=1, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
    return Resources(
        slots=concurrent or max(1, count_places(nodes, planned)),
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        elastic=concurrent is None,
    )


def count_places(nodes: Nodes, resources: Resources) -> int:
    """Trials that the nodes could hold if nothing else ran there."""
    return sum(
        int(min(node.get("CPU", 0) // resources.cpus_per_trial, _places_by_gpu(node, resources.gpus_per_trial)))
        for node in nodes
    )


def _places_by_gpu(node: Mapping[str, float], gpus_per_trial: float) -> float:
    """A trial has its part on one GPU: of 0.4 each there fit two on a GPU, and four on two."""
    if not gpus_per_trial:
        return float("inf")
    return int(node.get("GPU", 0)) * int(1 / gpus_per_trial + 1e-9)


class Slots:
    """The legs that may be handed out at once; a function without arguments for the searcher.

    On a cluster whose nodes come and go one leg more than there are places: it waits, so that a new node is used at
    once, and so that an autoscaler sees that there is more to do.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        nodes: Callable[[], Nodes] = living_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources, self._nodes, self._clock = resources, nodes, clock
        self._looked = -float("inf")
        self._count = resources.slots

    def __call__(self) -> int:
        now = self._clock()
        if self._resources.elastic and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._count = count_places(self._nodes(), self._resources) + 1
        return self._count
