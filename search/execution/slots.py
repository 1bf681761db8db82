"""How many trials run at once, and what each gets: as the run began, here or on the nodes that a cluster has now."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from search.runtime.cluster import Resources, attached, plan_resources
from search.session.options import Options

if TYPE_CHECKING:  # imports Optuna
    from search.storage.study import Run

LOOK_SECONDS = 1
Nodes = Sequence[Mapping[str, float]]
"""What each living node has in all: {"CPU": 8.0, "GPU": 1.0}."""


def living_nodes() -> Nodes:
    """The nodes of the connected cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def plan(options: Options, run: "Run | None" = None) -> Resources:
    """What these options give each trial, here or on the cluster they name.

    Args:
        run: one that is resumed: what the options do not state is as it began, where that fits.

    Raises:
        ValueError: this machine has less, or there is no cluster.
    """
    stated: dict[str, Any] = {
        name: getattr(options, name) for name in ("concurrent", "cpus_per_trial", "gpus_per_trial")
    }
    if run is not None:
        with suppress(ValueError):
            return _plan(options.address, **as_begun(run, stated, on_cluster=options.address is not None))
    return _plan(options.address, **stated)


def _plan(address: str | None, **wishes: Any) -> Resources:
    return plan_resources(**wishes) if address is None else plan_on_cluster(address, **wishes)


def as_begun(run: "Run", stated: Mapping[str, Any], *, on_cluster: bool = False) -> dict[str, Any]:
    """The stated wishes, and for the others what decides the values of this run: threads, device, and a single slot.

    With several slots the order of the trials is chance, and there may be as many as fit.
    """
    begun: dict[str, Any] = {"cpus_per_trial": run.cpus_per_trial, "gpus_per_trial": run.gpus_per_trial}
    if run.slots == 1 and not on_cluster:
        begun["concurrent"] = 1
    return {name: begun.get(name) if value is None else value for name, value in stated.items()}


def differences(run: "Run", resources: Resources) -> str | None:
    """One line on what makes the values of a resumed run differ from those of an undisturbed one; None if nothing."""
    now, then = resources.cpus_per_trial, run.cpus_per_trial
    found = []
    if now != then:
        found.append(
            f"{now} thread{'s' * (now > 1)} per trial, this run used {then}: values will differ in the last digits"
        )
    if bool(resources.gpus_per_trial) != bool(run.gpus_per_trial):
        device = ["the CPU", "a GPU"]
        here, there = device[bool(resources.gpus_per_trial)], device[bool(run.gpus_per_trial)]
        found.append(f"trials train on {here}, this run used {there}: values will differ")
    if run.slots == 1 < resources.slots:
        found.append(
            f"{resources.slots} trials at once, this run trained one: their order, and so the study, is chance"
        )
    return "; ".join(found) or None


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
