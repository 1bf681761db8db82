"""Whether the nodes of a cluster agree: versions, clocks, and the shared run folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from search.diagnosis.finding import Finding
from search.execution.nodes import Node, ask_nodes, blind, differing_versions

CLOCK_SLACK_SECONDS = 5


def check_cluster(address: str, *, runs_dir: Path) -> Iterator[Finding]:
    """Whether every node answers, has the same versions and the same time, and sees the run folder."""
    from search.runtime.cluster import attached
    from search.runtime.versions import versions

    runs_dir.mkdir(parents=True, exist_ok=True)
    with attached(address):
        nodes, silent = ask_nodes(str(runs_dir.resolve()))
    yield Finding(what="nodes", found=f"{len(nodes)} answer at {address}")
    for host in silent:
        yield Finding(what="nodes", found=f"{host} does not answer", do="check it with `ray status`", fatal=True)
    yield from compare_nodes(nodes, here=versions(), runs_dir=runs_dir)


def compare_nodes(nodes: Sequence[Node], *, here: dict[str, str], runs_dir: Path) -> Iterator[Finding]:
    """What the answers of the nodes mean."""
    for host, changed in differing_versions(nodes, here).items():
        shown = ", ".join(f"{name} {version} (here {here[name]})" for name, version in changed.items())
        yield Finding(what="versions", found=f"{host}: {shown}", do="install the lock file on every node", fatal=True)
    for node in nodes:
        if abs(node.clock_seconds) > CLOCK_SLACK_SECONDS:
            found = f"{node.host} is {node.clock_seconds:+.0f} s off"
            yield Finding(what="clock", found=found, do="start a time service (chrony) there")
    hosts = blind(nodes)
    if hosts:
        yield Finding(
            what="shared folder",
            found=f"{', '.join(hosts)} cannot see {str(runs_dir)!r}",
            do="give a --runs-dir that all nodes share; otherwise a trial that moves to another node starts again",
        )
    elif nodes:
        yield Finding(what="shared folder", found=f"every node sees {str(runs_dir)!r}")
