"""docs/examples/on-premise.yaml launches a cluster on several hosts, which search together, and takes it down again.

The hosts are made on this machine (`tests/hosts.py`); the commands are those that the file itself gives.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from search.storage.study import open_study
from tests.hosts import TREE, Host, NoHostsError, make_hosts, wait_until
from tests.searching import ROOT, assert_sound

NAME = "docs/examples/on-premise.yaml"
TEXT = (ROOT / NAME).read_text()
CLUSTER = yaml.safe_load(TEXT)
HEAD, WORKERS = CLUSTER["provider"]["head_ip"], CLUSTER["provider"]["worker_ips"]
OPERATOR = HEAD.rpartition(".")[0] + ".1"
FILLED_IN = TEXT.replace("ssh_user: me", "ssh_user: root").replace("ray start ", "ray start --num-cpus=1 ")
"""One trial fills a host, so that several must train; and no worker is started for each CPU of a large machine."""
SEARCH = "--name across --trials 12 --max-epochs 3 --concurrent 3"


def told(start: str, end: str) -> str:
    """The commands between two words of the file, for root on hosts whose keys nobody has seen before."""
    part = TEXT[TEXT.index(start) : TEXT.index(end)]
    lines = [line.removeprefix("#   ") for line in part.splitlines() if line.startswith("#   ")]
    assert lines
    script = "\n".join(["set -e", f"cd {TREE}", *lines])
    return (
        script.replace("me@", "root@")
        .replace(NAME, "~/on-premise.yaml")
        .replace("ssh -i", "ssh -o LogLevel=ERROR -o StrictHostKeyChecking=no -i")
    )


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Where `ray up` is typed, the head, and the workers."""
    try:
        with make_hosts(tmp_path, [OPERATOR, HEAD, *WORKERS]) as made:
            yield made
    except NoHostsError as error:
        pytest.skip(str(error))


def test_ray_accepts_the_file_and_wants_every_worker():
    prepared = prepare_config(copy.deepcopy(CLUSTER))
    validate_config(prepared)
    (node_type,) = prepared["available_node_types"].values()
    assert node_type["min_workers"] == len(WORKERS)
    start = " ".join(CLUSTER["head_start_ray_commands"])
    assert f"--node-ip-address={HEAD}" in start, "without a default route Ray would take 127.0.0.1"
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start


@pytest.mark.cluster
@pytest.mark.slow
def test_the_commands_of_the_file_launch_search_across_the_hosts_and_leave_nothing(hosts: list[Host], tmp_path: Path):
    operator, head, *workers = hosts
    (operator.home / "on-premise.yaml").write_text(FILLED_IN)
    operator.run("(umask 077; openssl rand -hex 32 > ~/.rungwise-token)")
    launch, ray_exec = told("# Launch", "# Take down").split("ray exec")
    operator.run(launch, timeout=120)
    for host in (head, *workers):
        wait_until(lambda host=host: _runs(host, "raylet"), f"Ray on {host.name}", seconds=90)
        assert (host.home / ".rungwise-token").stat().st_mode & 0o777 == 0o600
    said = operator.run("ray exec" + ray_exec.rstrip().removesuffix("'") + f" {SEARCH}'", timeout=200)
    _assert_trained_on_several(tmp_path / "shared" / "runs" / "across", said)
    assert "AuthenticationError" in workers[0].run(
        f"RAY_AUTH_MODE=disabled ray status --address {HEAD}:6379 2>&1 || true"
    )
    operator.run(told("# Take down", "# docs/cluster.md"), timeout=120)
    for host in hosts:
        wait_until(lambda host=host: host.processes() == [], f"the end of Ray on {host.name}", seconds=30)
        left = [path.name for path in host.home.iterdir() if path.name.startswith(("ray_bootstrap", ".rungwise"))]
        assert left == ([".rungwise-token"] if host is operator else [])
    assert "cluster-rungwise" not in operator.run("ls /tmp/ray")


def _runs(host: Host, word: str) -> bool:
    return any(word in line for line in host.processes())


def _assert_trained_on_several(run_dir: Path, said: str) -> None:
    assert_sound(run_dir)
    records = [record for trial in open_study(run_dir).trials for record in trial.user_attrs["history"]]
    epochs = Counter(record["node"] for record in records)
    assert len(epochs) >= 2, (epochs, said)
