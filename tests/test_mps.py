"""MPS for trials that share a GPU: its daemon is started, used, and gone whatever happens to the search."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.process.cores import pin
from search.process.scratch import PREFIX, sweep
from search.runtime import mps
from search.runtime.mps import Member, join, opened
from tests.mps import assert_none, daemons, environment, keepers, start_daemon, until
from tests.searching import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MPS is for Linux")

JOIN = """
import sys, time
from search.runtime.mps import join
member = join(sys.argv[1])
print(member.state.reason or "ready", flush=True)
sys.stdin.read()
"""
OPEN = """
import time
from search.runtime.mps import opened
with opened("on", 0.5, on_cluster=False, say=print) as found:
    print(found.key, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for a GPU in the processes that a test starts, and for the control program in all."""

    def install(**variables: str) -> dict[str, str]:
        found = environment(tmp_path, **variables)
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        return found

    monkeypatch.setattr(mps, "START_SECONDS", 3)
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    yield install
    assert_none(tmp_path)


def process(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answer(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline().strip()


def folder_of(key: str) -> Path:
    return Path(f"/tmp/{PREFIX}mps-{key}")


def test_a_daemon_of_its_own_is_up_while_a_search_runs_and_gone_afterwards(gpu, tmp_path: Path):
    gpu()
    said: list[str] = []
    with opened("auto", 0.25, on_cluster=False, say=said.append) as found:
        assert found is not None
        folder = folder_of(found.key)
        assert folder.stat().st_mode & 0o077 == 0, "for this user alone"
        assert len(f"{folder}/pipe/control") < 100, "the path of a socket is limited"
        (daemon,) = [one for one in daemons(tmp_path) if "-d" in one.cmdline()]
        assert daemon.environ()["CUDA_MPS_LOG_DIRECTORY"] == str(folder / "log")
        assert "CUDA_VISIBLE_DEVICES" not in daemon.environ()
        assert mps.ask(f"{folder}/pipe", "get_server_list") is not None
    assert not folder.exists()
    assert not daemons(tmp_path)
    assert said == []


@pytest.mark.parametrize(("mode", "gpus"), [("off", 0.5), ("auto", 0.0), ("auto", 1.0), ("auto", 2.0)])
def test_nothing_starts_where_trials_share_no_gpu(mode: mps.Mode, gpus: float, gpu, tmp_path: Path):
    gpu()
    with opened(mode, gpus, on_cluster=False, say=pytest.fail) as found:
        assert found is None
        assert not keepers(tmp_path)


def test_on_needs_trials_that_share_a_gpu():
    with (
        pytest.raises(ValueError, match=r"with --mps on, --gpus-per-trial must lie in \[1/48, 1\), got 1; leave"),
        opened("on", 1.0, on_cluster=False, say=pytest.fail),
    ):
        pass


def test_more_processes_than_mps_serves_are_refused():
    said: list[str] = []
    with opened("auto", 0.01, on_cluster=False, say=said.append) as found:
        assert found is None
    assert said == ["trials that share a GPU take turns, without MPS: it serves at most 48 processes on a GPU"]
    with pytest.raises(ValueError, match="got 0.01; leave"), opened("on", 0.01, on_cluster=False, say=print):
        pass


FAULTS = {
    "refuse": r"nvidia-cuda-mps-control -d failed \(Failed to create the control daemon: operation not supported\)",
    "hang": r"nvidia-cuda-mps-control -d did not start a daemon within 3 s",
    "mute": r"the daemon does not answer \(it has printed nothing\)",
    "connect": r"a process cannot connect to the GPU through the daemon \(CUDA error 805, MPS client failed",
    "unlisted": r"the daemon does not list a process that uses the GPU",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_start_that_fails_is_one_line_and_leaves_nothing(fault: str, gpu, tmp_path: Path):
    gpu(CUDA_STANDIN_FAULT=fault)
    said: list[str] = []
    began = time.monotonic()
    with opened("auto", 0.5, on_cluster=False, say=said.append) as found:
        assert found is None
        assert not daemons(tmp_path)
    assert time.monotonic() - began < 120, "a hang, not a speed"
    (line,) = said
    assert line.startswith("trials that share a GPU take turns, without MPS: ")
    assert re.search(FAULTS[fault], line), line


def test_a_start_that_fails_is_an_error_if_mps_is_asked_for(gpu):
    gpu(CUDA_STANDIN_FAULT="refuse")
    with (
        pytest.raises(ValueError, match=r"^--mps on: MPS cannot be used here: .* failed \(.*\); leave --mps out"),
        opened("on", 0.5, on_cluster=False, say=pytest.fail),
    ):
        pass


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"PYTHONPATH": ""}, "there is no NVIDIA GPU"),
        ({"PATH": "/usr/bin:/bin"}, "nvidia-cuda-mps-control is not installed, or not on the PATH"),
    ],
)
def test_a_machine_without_gpu_or_control_program_says_so(variables: dict[str, str], reason: str, gpu):
    if "PYTHONPATH" in variables and mps.has_gpu():
        pytest.skip("there is a GPU")
    gpu(**variables)
    said: list[str] = []
    with opened("auto", 0.5, on_cluster=False, say=said.append) as found:
        assert found is None
    assert said == [f"trials that share a GPU take turns, without MPS: {reason}"]


def test_a_gpu_that_is_divided_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mps, "has_gpu", lambda: True)
    monkeypatch.setattr(mps, "CONTROL", "sh")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-4f2c")
    assert mps.obstacle() == "the GPU is divided by MIG"


def test_a_daemon_that_does_not_quit_is_killed(gpu, tmp_path: Path):
    gpu(CUDA_STANDIN_FAULT="stubborn")
    with opened("on", 0.5, on_cluster=False, say=pytest.fail):
        assert daemons(tmp_path)
    assert not daemons(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_daemon_ends_with_a_driver_that_is_killed(number: int, gpu, tmp_path: Path):
    gpu()
    driver = process(OPEN)
    folder = folder_of(answer(driver))
    assert daemons(tmp_path)
    driver.send_signal(number)
    driver.communicate(timeout=60)
    assert_none(tmp_path)
    assert not folder.exists()


def test_the_daemon_stays_while_a_worker_uses_it_and_ends_with_the_last(gpu, tmp_path: Path):
    gpu()
    key = f"test{os.getpid()}"
    workers = [process(JOIN, key) for _ in range(4)]
    assert [answer(one) for one in workers] == ["ready"] * 4
    assert len([one for one in daemons(tmp_path) if "-d" in one.cmdline()]) == len(keepers(tmp_path)) == 1
    for one in workers[1:]:
        one.kill()
        one.communicate()
    time.sleep(2)
    assert daemons(tmp_path)
    workers[0].communicate(timeout=60)
    assert_none(tmp_path)


def test_a_worker_that_comes_when_the_daemon_has_ended_starts_another(gpu, tmp_path: Path):
    gpu()
    for _ in range(3):
        one = process(JOIN, f"again{os.getpid()}")
        assert answer(one) == "ready"
        one.kill()
        one.communicate()
    assert_none(tmp_path)


def test_two_searches_at_once_have_a_daemon_each(gpu, tmp_path: Path):
    gpu()
    with opened("on", 0.5, on_cluster=False, say=pytest.fail) as first:
        with opened("on", 0.5, on_cluster=False, say=pytest.fail) as second:
            assert first is not None
            assert second is not None
            assert first.key != second.key
        assert mps.ask(f"{folder_of(first.key)}/pipe", "get_server_list") is not None
        assert mps.ask(f"{folder_of(second.key)}/pipe", "get_server_list") is None


@pytest.mark.parametrize("where", ["named", "default"])
def test_a_daemon_of_the_user_is_used_and_never_ended(where: str, gpu, tmp_path: Path):
    pipe = tmp_path / where
    variables = gpu(**({"CUDA_MPS_PIPE_DIRECTORY": str(pipe)} if where == "named" else {}))
    start_daemon(pipe, **variables)
    (daemon,) = daemons(tmp_path)
    try:
        with opened("on", 0.5, on_cluster=False, say=pytest.fail) as found:
            assert found is not None
            state = mps.read_state(folder_of(found.key))
            assert state == mps.State(pipe=str(pipe), own=False)
        assert daemon.is_running()
        assert mps.ask(str(pipe), "get_server_list") is not None
    finally:
        mps.ask(str(pipe), "quit")


def test_a_pipe_directory_in_which_nothing_listens_is_passed_over(gpu, tmp_path: Path):
    gpu(CUDA_MPS_PIPE_DIRECTORY=str(tmp_path))
    with opened("on", 0.5, on_cluster=False, say=pytest.fail) as found:
        assert found is not None
        assert mps.read_state(folder_of(found.key)).own


def test_the_files_of_a_daemon_that_was_killed_do_not_prevent_another(gpu, tmp_path: Path):
    variables = gpu()
    start_daemon(tmp_path / "stale", **variables)
    for one in daemons(tmp_path):
        one.kill()
    until(lambda: not daemons(tmp_path))
    assert mps.ask(str(tmp_path / "stale"), "get_server_list") is None
    with opened("on", 0.5, on_cluster=False, say=pytest.fail) as found:
        assert found is not None
        folder = folder_of(found.key)
        for one in [*keepers(tmp_path), *daemons(tmp_path)]:
            one.kill()
        until(lambda: not keepers(tmp_path))
        until(lambda: swept(folder))  # a process that ends has no command any more, and still holds its lock


def swept(folder: Path) -> bool:
    """Whether the next search removes what a killed keeper has left."""
    sweep(Path("/tmp"))
    return not folder.exists()


def test_a_daemon_that_dies_is_noticed(gpu, tmp_path: Path):
    gpu()
    member = join(f"dies{os.getpid()}")
    assert member.state.reason == ""
    for one in daemons(tmp_path):
        one.kill()
    until(lambda: member.state.reason == "its daemon has ended")
    member.leave()


def test_what_is_said_once_is_said_by_one_process(gpu):
    gpu()
    key = f"once{os.getpid()}"
    members: list[Member] = [join(key), join(key)]
    assert [member.is_first("x") for member in members] == [True, False]
    members[0].give_up("the first reason")
    members[1].give_up("a later one")
    assert members[0].state.reason == "the first reason"
    for member in members:
        member.leave()


def test_only_uuids_limit_the_gpus_of_the_daemon(gpu, tmp_path: Path):
    gpu()
    for devices, expected in [("2,3", None), ("GPU-1a,GPU-2b", "GPU-1a,GPU-2b")]:
        member = join(f"{os.getpid()}{devices[0]}", devices=devices)
        assert {one.environ().get("CUDA_VISIBLE_DEVICES") for one in daemons(tmp_path)} == {expected}
        member.leave()


PIN = """
import os, sys
from pathlib import Path
from search.process.cores import pin
cores = pin(int(sys.argv[1]), folder=Path(sys.argv[2]))
assert not cores or os.sched_getaffinity(0) == cores
print(sorted(cores), flush=True)
sys.stdin.read()
"""


def test_workers_get_cores_of_their_own_and_never_others_than_the_process_has(tmp_path: Path):
    allowed = sorted(os.sched_getaffinity(0))
    workers = [process(PIN, "1", str(tmp_path / "cores")) for _ in allowed]
    assert sorted(answer(one) for one in workers) == sorted(f"[{core}]" for core in allowed)
    late = process(PIN, "1", str(tmp_path / "cores"))
    assert answer(late) == "[]", "none is free, so it is not bound"
    workers[0].kill()
    for one in (workers[0], late):
        one.communicate()
    again = process(PIN, "1", str(tmp_path / "cores"))
    assert answer(again) != "[]", "a claim ends with its process"
    for one in (*workers[1:], again):
        one.communicate()
    assert pin(len(allowed) + 1, folder=tmp_path / "more") == frozenset()
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "cores").mkdir()
    os.chown(tmp_path / "cores", 12345, 12345)
    assert pin(1, folder=tmp_path / "cores") == frozenset()
    folder = folder_of(f"theirs{os.getpid()}")
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    try:
        with pytest.raises(PermissionError, match="belongs to another user"):
            join(f"theirs{os.getpid()}")
    finally:
        folder.rmdir()
