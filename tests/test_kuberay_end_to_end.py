"""The command of the workers of docs/examples/kuberay.yaml, which gets the SIGTERM of Kubernetes, on a real Ray."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clusters import Nodes
from tests.hosts import wait_until
from tests.kuberay import MANIFEST
from tests.searching import patience

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path / "home")
    try:
        made.add(cpus=0)
        yield made
    finally:
        made.end()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: names of sockets are limited to 107 characters."""
    made = Path(tempfile.mkdtemp(prefix="rw"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_first_process_of_a_worker_is_ray_which_drains_its_node_at_sigterm(nodes: Nodes, folder: Path):
    (group,) = yaml.safe_load(MANIFEST.read_text())["spec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    start = f"ray start --address={nodes.address} --num-cpus=1 --min-worker-port=0 --max-worker-port=0 --block"
    env = {
        **os.environ,
        **nodes.environment,
        **{one["name"]: one["value"] for one in container["env"]},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBERAY_GEN_RAY_START_CMD": f"{start} --temp-dir={folder} --object-store-memory=100000000",
    }
    output = folder / "said"
    with output.open("w") as said:
        pod = subprocess.Popen([*container["command"], *container["args"]], env=env, stdout=said, stderr=said)
    try:
        wait_until(lambda: "Ray runtime started" in output.read_text(), "the node", seconds=patience(60), every=0.2)
        first = psutil.Process(pod.pid)
        assert any("ray" in word for word in first.cmdline()), "bash has been replaced"
        started = first.children(recursive=True)
        assert any("raylet" in process.name() for process in started)
        pod.terminate()
        pod.wait(timeout=patience(30))  # at once, since nothing is left on it; the limit is 100 seconds
        assert [process for process in started if process.is_running() and "raylet" in process.name()] == []
        assert "did not finish draining" not in output.read_text()
    finally:
        pod.kill()
        pod.wait()
