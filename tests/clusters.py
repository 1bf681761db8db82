"""A real Ray cluster of several nodes on this machine, in a process of its own.

python -m tests.clusters      # reads "add CPUS GPUS" and "kill NUMBER" from its input, answers each with a line
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.searching import ROOT


class Nodes:
    """The nodes of one cluster, the head first; with a token, and listening on the loopback interface alone."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "token").touch(mode=0o600)
        (home / "token").write_text(32 * "ab")
        self.environment = {
            "HOME": str(home),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(home / "token"),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_worker_niceness": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clusters"],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = ""

    def add(self, *, cpus: int, gpus: int = 0) -> None:
        """Start a node, the head if it is the first, and wait until the others know of it."""
        self.address = self._ask(f"add {cpus} {gpus}")

    def kill(self, number: int) -> None:
        """End all processes of a node with SIGKILL; the head is number 0."""
        self._ask(f"kill {number}")

    def end(self) -> None:
        """End all that is left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=60)
        current = Path("/tmp/ray/ray_current_cluster")
        if current.exists() and current.read_text() == self.address:
            current.unlink()  # nobody is to be sent there any more

    def _ask(self, words: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("done "):
                return line.split()[1]
        raise AssertionError(f"the cluster ended at {words!r}")


def serve() -> None:
    from ray.cluster_utils import Cluster

    cluster, nodes = Cluster(), []
    for line in sys.stdin:
        match line.split():
            case ["add", cpus, gpus]:
                node = cluster.add_node(
                    num_cpus=int(cpus), num_gpus=int(gpus), object_store_memory=100 * 2**20, include_dashboard=False
                )
                nodes.append(node)
            case ["kill", number]:
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
        print("done", cluster.address, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    serve()
