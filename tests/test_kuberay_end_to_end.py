"""The command of the workers of docs/examples/kuberay.yaml, which gets the SIGTERM of Kubernetes, on a real Ray."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from ray.util import get_node_ip_address

from tests.hosts import wait_until
from tests.kuberay import MANIFEST
from tests.searching import patience

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SMALL = "--min-worker-port=0 --max-worker-port=0 --object-store-memory=100000000 --block"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: names of sockets are limited to 107 characters."""
    made = Path(tempfile.mkdtemp(prefix="rw"))
    (made / "token").touch(mode=0o600)
    (made / "token").write_text(32 * "ab")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


@contextmanager
def started(words: list[str], folder: Path, name: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that starts a node of Ray, once the node is up; what it prints is in the folder, under the name."""
    env = {
        **os.environ,
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        **environment,
    }
    output = folder / name
    with output.open("w") as said:
        process = subprocess.Popen(words, env=env, stdout=said, stderr=said)
    try:
        wait_until(lambda: "Ray runtime started" in output.read_text(), name, seconds=patience(60), every=0.2)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=patience(60))


def test_the_first_process_of_a_worker_is_ray_which_drains_its_node_at_sigterm(folder: Path):
    (group,) = yaml.safe_load(MANIFEST.read_text())["spec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    host, port = get_node_ip_address(), free_port()
    head = f"ray start --head --node-ip-address={host} --port={port} --num-cpus=0 --temp-dir={folder}/h {SMALL}"
    worker = f"ray start --address={host}:{port} --num-cpus=1 --temp-dir={folder}/w {SMALL}"
    command = [*container["command"], *container["args"]]
    with (
        started(head.split(), folder, "head", RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0"),
        started(command, folder, "worker", KUBERAY_GEN_RAY_START_CMD=worker, **variables) as pod,
    ):
        first = psutil.Process(pod.pid)
        assert any("ray" in word for word in first.cmdline()), "bash has been replaced"
        raylets = [process for process in first.children(recursive=True) if "raylet" in process.name()]
        assert raylets
        pod.terminate()
        pod.wait(timeout=patience(30))  # at once, since nothing is left on it; the limit is 100 seconds
        assert [process for process in raylets if process.is_running()] == []
        assert "did not finish draining" not in (folder / "worker").read_text()
