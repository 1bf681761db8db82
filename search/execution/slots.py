"""How many legs may run at once: a fixed number, or as many as the nodes of a cluster have room for now."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from search.process.text import counted
from search.runtime.resources import Nodes, Resources, capacity, living_nodes

if TYPE_CHECKING:  # imports Optuna
    from search.storage.run import Run

LOOK_SECONDS = 1


def as_begun(run: "Run", stated: Mapping[str, Any], *, on_cluster: bool = False) -> dict[str, Any]:
    """The stated options; for the others the threads, the device and a single slot with which the run began.

    These decide the values of a run. With several slots the order of the trials is random anyway, so any number may
    run.
    """
    workers = stated.get("workers_per_trial") or run.workers_per_trial
    gpus = run.gpus_per_trial if workers == run.workers_per_trial else float(workers if run.gpus_per_trial else 0)
    begun: dict[str, Any] = {
        "cpus_per_trial": run.threads * workers,
        "gpus_per_trial": gpus,
        "workers_per_trial": workers,
    }
    if run.slots == 1 and not on_cluster:
        begun["concurrent"] = 1
    return {name: begun.get(name) if value is None else value for name, value in stated.items()}


def differences(run: "Run", resources: Resources) -> str | None:
    """One line on what makes the values of a resumed run differ from those of an undisturbed one; None if nothing."""
    now, then = resources.threads, run.threads
    found = []
    if now != then:
        threads = counted(now, "thread")
        found.append(f"{threads} per trial, this run used {then}; values will differ in the last digits")
    workers = resources.workers_per_trial
    if workers != run.workers_per_trial or (run.workers_by_config and not resources.by_configuration):
        there = "as many as each configuration asks for" if run.workers_by_config else run.workers_per_trial
        found.append(
            f"{counted(workers, 'worker')} per trial, this run used {there}; values will differ in the last digits"
        )
    if bool(resources.gpus_per_trial) != bool(run.gpus_per_trial):
        device = ["the CPU", "a GPU"]
        here, there = device[bool(resources.gpus_per_trial)], device[bool(run.gpus_per_trial)]
        found.append(f"trials train on {here}, this run used {there}; values will differ")
    if run.slots == 1 < resources.slots:
        found.append(
            f"{resources.slots} trials at once, this run trained one; the order of the trials, and therefore the "
            f"study, is not reproducible"
        )
    return "; ".join(found) or None


class Slots:
    """The number of legs that may be handed out at once; the searcher calls this object.

    On a cluster whose nodes come and go it is one more than the nodes have room for. The waiting leg uses a new node at
    once, and makes an autoscaler add one.
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
            self._count = capacity(self._nodes(), self._resources) + 1
        return self._count
