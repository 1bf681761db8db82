"""The command of the workers of docs/examples/kuberay.yaml, which gets the SIGTERM of Kubernetes, on a real Ray."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from ray.util import get_node_ip_address

from tests.kuberay import MANIFEST
from tests.nodes import SMALL, free_port, private_folder, started
from tests.searching import patience

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def folder() -> Iterator[Path]:
    with private_folder() as made:
        yield made


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
