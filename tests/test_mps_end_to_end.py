"""Searches whose trials share a GPU that is none: attached to MPS, through every end of the search and of MPS."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clusters import Nodes
from tests.mps import assert_none, daemons, environment, until
from tests.searching import Running, assert_sound, command, plain, search, trials_of

pytestmark = pytest.mark.slow

SPACE = """
import os
import time
import rungwise as rw
import torch

def suggest(trial):
    return {"lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}

def train(config, run):
    model = torch.nn.Linear(2, 1)
    run.track(model=model)
    for epoch in run.epochs:
        time.sleep(0.3)
        fault = os.environ.get("RUNGWISE_TEST_FAULT", "")
        if fault == "always" or (fault == "mps" and "CUDA_MPS_PIPE_DIRECTORY" in os.environ and epoch == 2):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        print("cores", sorted(os.sched_getaffinity(0)))
        run.report(loss=config["lr"] / (1 + epoch))

SPACE = rw.Space(
    suggest=suggest, train=train, baseline={"lr": 0.1}, metric="loss", direction="minimize", epochs=8
)
"""
ATTACHED = r"note: \S+: trials share the GPU through MPS"
WITHOUT = r"note: \S+: trials that share a GPU take turns, without MPS: "

RESUMED = ("--resume", "--name", "x", "--gpus-per-trial", "0.5", "--mps", "auto")


def words(folder: Path, *more: str) -> list[str]:
    (folder / "shared.py").write_text(SPACE)
    sharing = "--trials 4 --gpus-per-trial 0.5 --cpus-per-trial 1 --pruner none --sampler random --name x".split()
    return ["--space", str(folder / "shared.py"), *sharing, *(() if "--mps" in more else ("--mps", "auto")), *more]


def test_trials_that_share_a_gpu_are_attached_each_on_cores_of_its_own(tmp_path: Path):
    done = search(tmp_path, *words(tmp_path, "--mps", "on"), **environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(re.findall(ATTACHED + ", each on cores of its own", done.stdout)) == 1
    assert not re.search(WITHOUT, done.stdout)
    logs = [path.read_text() for path in sorted((tmp_path / "x" / "logs").iterdir())]
    assert len(logs) == 4
    assert all("attached to MPS ---" in log for log in logs)
    cores = [re.search(r"cores \[(.*)\]", log) for log in logs]
    assert all(found is not None and len(found[1].split(",")) == 1 for found in cores)
    assert_none(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_daemon_ends_with_the_search_and_a_resumed_one_has_its_own(number: int, tmp_path: Path):
    stand_in = environment(tmp_path)
    running = Running(command(tmp_path, *words(tmp_path)), **stand_in)
    running.until(ATTACHED)
    assert daemons(tmp_path)
    running.process.send_signal(number)
    running.end()
    running.assert_gone()
    assert_none(tmp_path)
    more = "--resume --name x --gpus-per-trial 0.5 --mps on".split()
    done = search(tmp_path, *more, **stand_in)
    assert done.returncode == 0, done.stderr
    assert re.search(ATTACHED, done.stdout)
    assert_sound(tmp_path / "x")
    assert_none(tmp_path)


@pytest.mark.parametrize("victim", ["server", "all"])
def test_a_search_goes_on_without_mps_when_its_server_dies(victim: str, tmp_path: Path):
    longer = words(tmp_path, "--trials", "2", "--max-epochs", "40")
    running = Running(command(tmp_path, *longer), **environment(tmp_path))
    running.until(ATTACHED)
    for one in daemons(tmp_path):
        if victim == "all" or "nvidia-cuda-mps-server" in one.cmdline():
            one.kill()
    assert running.end() == 0, running.said
    assert len(re.findall(WITHOUT, running.said)) == 1
    assert re.search(r"trial \d lost its worker .*; another worker continues after epoch", running.said)
    assert_sound(tmp_path / "x")
    assert {trial.state.name for trial in trials_of(tmp_path / "x")} == {"COMPLETE"}
    assert_none(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"RUNGWISE_TEST_FAULT": "mps"}, "CUDA error: an illegal memory access was encountered"),
        ({"CUDA_STANDIN_FAULT": "late"}, "MPS client failed to connect to the MPS control daemon or the MPS server"),
    ],
    ids=["step", "connection"],
)
def test_a_fault_of_cuda_is_tried_again_without_mps(fault: dict[str, str], reason: str, tmp_path: Path):
    """It may be that of a neighbour."""
    stand_in = environment(tmp_path, **fault)
    done = search(tmp_path, *words(tmp_path), **stand_in)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if re.search(WITHOUT, line)]
    assert line.endswith(reason)
    assert_sound(tmp_path / "x")


def test_a_fault_of_the_trial_itself_is_reported_as_such(tmp_path: Path):
    done = search(tmp_path, *words(tmp_path), **environment(tmp_path, RUNGWISE_TEST_FAULT="always"))
    assert done.returncode == 4, done.stdout
    failures = {trial.user_attrs["failure"] for trial in trials_of(tmp_path / "x")}
    assert failures == {"RuntimeError: CUDA error: an illegal memory access was encountered"}


def test_without_mps_a_search_runs_as_before_or_is_refused(tmp_path: Path):
    stand_in = environment(tmp_path, CUDA_STANDIN_FAULT="refuse")
    refused = search(tmp_path, *words(tmp_path, "--mps", "on"), **stand_in)
    assert refused.returncode == 2
    assert plain(refused.stderr).count("\n") == 1
    assert plain(refused.stderr).startswith(
        "error: --mps on: MPS cannot be used here: nvidia-cuda-mps-control -d failed ("
    )
    assert not (tmp_path / "x").exists()
    done = search(tmp_path, *words(tmp_path), **stand_in)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("without MPS: nvidia-cuda-mps-control -d failed") == 1
    assert "attached" not in "".join(path.read_text() for path in (tmp_path / "x" / "logs").iterdir())
    assert_none(tmp_path)


def test_off_starts_nothing(tmp_path: Path):
    running = Running(command(tmp_path, *words(tmp_path, "--mps", "off")), **environment(tmp_path))
    running.until("trial 0 finished")
    assert not daemons(tmp_path)
    assert running.end() == 0
    assert "MPS" not in running.said


@contextmanager
def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, **fault: str) -> Iterator[Nodes]:
    """A head without CPUs and a machine with a GPU, which live on when a search ends."""
    for name, value in environment(folder, **fault).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_OVERRIDE_RESOURCES")
    nodes = Nodes(folder / "home")
    try:
        nodes.add(cpus=0)
        nodes.add(cpus=2, gpus=1)
        yield nodes
    finally:
        nodes.end()
    assert_none(folder)


@pytest.mark.cluster
def test_on_a_cluster_each_machine_has_a_daemon_that_ends_with_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with cluster(tmp_path, monkeypatch) as nodes:
        clustered = ["--address", nodes.address]
        running = Running(command(tmp_path, *words(tmp_path, "--mps", "on"), *clustered), **nodes.environment)
        running.until(ATTACHED)
        assert daemons(tmp_path)
        os.kill(running.process.pid, signal.SIGKILL)
        running.end()
        until(lambda: not daemons(tmp_path), seconds=60)
        done = search(tmp_path, *RESUMED, "--force", *clustered, **nodes.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(re.findall(ATTACHED, done.stdout)) == 1
        until(lambda: not daemons(tmp_path), seconds=60)


@pytest.mark.cluster
def test_a_node_without_mps_is_named_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with cluster(tmp_path, monkeypatch, CUDA_STANDIN_FAULT="refuse") as nodes:
        clustered = ["--address", nodes.address]
        refused = search(tmp_path, *words(tmp_path, "--mps", "on"), *clustered, **nodes.environment)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert re.search(r"error: --mps on: MPS cannot be used on \S+: nvidia-cuda-mps-control -d", refused.stderr)
        done = search(tmp_path, *RESUMED, *clustered, **nodes.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(re.findall(WITHOUT, done.stdout)) == 1
