"""Asks every node of a cluster what it has: versions, clock, and whether it sees the run folder."""

import os
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one node answered."""

    host: str
    sees: bool
    """Whether a file that was just written into the run folder is there."""
    versions: dict[str, str]
    clock_seconds: float
    """How far its clock is ahead of ours; good to half the time that the question took."""


def ask_nodes(folder: Path) -> list[Node]:
    """What every living node of the connected cluster answers.

    Args:
        folder: of the runs, which all nodes should share; it must exist.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=1)(answer)
    with tempfile.NamedTemporaryFile(prefix=".shared-", dir=folder) as marker:
        asked = time.time()
        pending = [
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                str(Path(marker.name).resolve())
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        answers: list[dict[str, Any]] = ray.get(pending, timeout=ANSWER_SECONDS)
        told = time.time()
    return [Node(clock_seconds=_ahead(answer.pop("clock"), asked, told), **answer) for answer in answers]


def answer(marker: str) -> dict[str, Any]:
    """Runs on the node."""
    from search.prepare import versions

    return {
        "host": f"{socket.gethostname()} ({os.environ.get('RAY_NODE_ID', '')[:6] or os.getpid()})",
        "sees": Path(marker).exists(),
        "versions": versions(),
        "clock": time.time(),
    }


def _ahead(clock: float, asked: float, told: float) -> float:
    """0 when the node's clock lies within the time that the question took."""
    return clock - told if clock > told else min(clock - asked, 0.0)


def differing_versions(nodes: Sequence[Node], here: dict[str, str]) -> dict[str, dict[str, str]]:
    """Host -> package -> version, where it is not the one of this process."""
    differing = {}
    for node in nodes:
        other = {name: node.versions.get(name, "missing") for name in here}
        changed = {name: version for name, version in other.items() if version != here[name]}
        if changed:
            differing[node.host] = changed
    return differing


def blind(nodes: Sequence[Node]) -> list[str]:
    """Hosts that do not see the run folder."""
    return [node.host for node in nodes if not node.sees]
