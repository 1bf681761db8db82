"""Asks every node of a cluster for its versions, its clock, and whether it sees the checkpoints."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.runtime.probe import Probe
from search.runtime.versions import versions
from trainables.files.stores import MANIFEST, Folder, UnreachableError, open_store

ANSWER_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one node answered."""

    host: str
    sees: bool
    """Whether it sees what was just written to the store of the checkpoints."""
    versions: dict[str, str]
    clock_seconds: float
    """Seconds by which its clock is ahead of ours, exact to half the time that the question took."""


def ask_nodes(where: str, *, seconds: float = ANSWER_SECONDS) -> tuple[list[Node], list[str]]:
    """The answers of all living nodes of the connected cluster.

    Args:
        where: folder or URI that all nodes should share; it is made if missing.
        seconds: to wait for an answer.

    Returns:
        The answers, and the hosts that gave none.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=1)(answer)
    store, marker = open_store(where), f".shared-{os.getpid()}"
    store.write(marker, {MANIFEST: b"{}"})
    try:
        asked = time.time()
        pending = {
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                where, marker
            ): node["NodeManagerHostname"]
            for node in ray.nodes()
            if node["Alive"]
        }
        ray.wait(list(pending), num_returns=len(pending), timeout=seconds)
        answered = time.time()
        answers = {reference: _answered(reference) for reference in pending}
    finally:
        store.remove(marker)
    nodes = [
        Node(clock_seconds=_ahead(a.pop("clock"), asked, answered), **a) for a in answers.values() if a is not None
    ]
    return nodes, [host for reference, host in pending.items() if answers[reference] is None]


def _answered(reference: Any) -> dict[str, Any] | None:
    """The answer of a node; None if it is slow, or gone."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(reference, timeout=0)
    except RayError:
        return None


def answer(where: str, marker: str) -> dict[str, Any]:
    """What this node answers; called on the node."""
    import ray

    try:
        sees = marker in open_store(where).entries()
    except (OSError, UnreachableError):
        sees = False
    return {
        "host": f"{socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:6]})",
        "sees": sees,
        "versions": versions(),
        "clock": time.time(),
    }


def is_gone(node_id: str) -> bool:
    """Whether the node is dead or does not answer, which Ray itself notices only after some seconds."""
    import ray

    for node in ray.nodes():
        if node["NodeID"] == node_id and node["Alive"]:
            return not Probe((node["NodeManagerAddress"], node["NodeManagerPort"]), patience_seconds=0)()
    return bool(node_id)


def _ahead(clock: float, asked: float, answered: float) -> float:
    """Seconds by which a clock is ahead; 0 if it lies between the question and the answer."""
    return clock - answered if clock > answered else min(clock - asked, 0.0)


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
    """Hosts that do not see the store of the checkpoints."""
    return [node.host for node in nodes if not node.sees]


def describe_nodes(checkpoints: str) -> list[str]:
    """Notes for the user about the nodes on which a search begins, one line each."""
    nodes, silent = ask_nodes(checkpoints)
    lines = [f"no answer from {', '.join(silent)} in {ANSWER_SECONDS} s"] if silent else []
    if hosts := blind(nodes):
        lines.append(f"{', '.join(hosts)} cannot see {checkpoints}: {_choice(checkpoints)}")
    for host, changed in differing_versions(nodes, versions()).items():
        shown = ", ".join(f"{name} {version}" for name, version in changed.items())
        lines.append(f"{host} has {shown}, unlike this machine, so its results may differ; install the lock file there")
    return lines


def _choice(checkpoints: str) -> str:
    if isinstance(open_store(checkpoints), Folder):
        return (
            "give a folder that all nodes share (--runs-dir or --storage); otherwise a trial that moves to "
            "another node starts again"
        )
    return "give these nodes credentials for it (a role, or ~/.aws); otherwise their trials cannot be saved"
