"""Nodes that leave a cluster: they have been warned, and their trials continue on other nodes.

A node that is ended by SIGTERM (`ray start --block`) reports it to Ray first. Ray then places nothing new on it, and
ends it as soon as nothing is left there. So each worker on it says so with its next epoch, and the leg and the worker
end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search.runtime.resources import leaving_nodes
from trainables.plain import is_plain

LEAVES = "leaves"
"""In the result of a step: whether the worker is on a node that leaves, and has begun no further epoch."""


class Departures:
    """Prints one line for each node that begins to leave."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._known: set[str] = set()

    def look(self) -> None:
        """Name the nodes that have begun to leave since the last call."""
        for node_id in sorted(leaving_nodes()):
            self.note(node_id)

    def note(self, node_id: str) -> None:
        """Name a node that leaves, which may be gone before the next look."""
        if node_id not in self._known:
            self._known.add(node_id)
            said = "leaves the cluster; its trials continue elsewhere after their running epoch"
            self._say(f"node {_host(node_id)} {said}")


def _host(node_id: str) -> str:
    """`host (a1b2c3)`, with the first digits of the identifier, since a host may have several nodes."""
    import ray

    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
    return f"{hosts.get(node_id, 'unknown')} ({node_id[:6]})"


@contextmanager
def workers_released() -> Iterator[None]:
    """Inside, Tune ends a worker on a node that leaves when its leg ends, instead of keeping it for the next leg."""
    if is_plain():
        yield
        return
    from ray.tune.execution.tune_controller import TuneController

    tune: Any = TuneController
    cache = tune._maybe_cache_trial_actor

    def cache_unless_leaving(controller: Any, trial: Any) -> bool:
        return not trial.last_result.get(LEAVES) and cache(controller, trial)

    tune._maybe_cache_trial_actor = cache_unless_leaving
    try:
        yield
    finally:
        tune._maybe_cache_trial_actor = cache
