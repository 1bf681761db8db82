"""What makes no progress: trials that hang are ended, a search that waits says why; on a clock of the test's own."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from ray.tune.experiment import Trial

from search.execution import watch
from search.execution.scheduler import StudyScheduler
from search.execution.watch import ROOM_SECONDS, NoRoomError, ProgressWatch
from search.runtime.guard import kill_process
from search.runtime.probe import Probe
from search.runtime.resources import Resources
from search.scheduling.losses import KILL_SECONDS, MemoryKills, count_memory_kills, loss
from search.storage.study import open_study
from tests.benches import Bench
from tests.searching import ROOT, patience

RESOURCES = Resources(slots=2, cpus_per_trial=4, gpus_per_trial=1)


class Watched(Bench):
    """A search whose watch lives on a clock that the test moves."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, timeout: float | None, on_cluster: bool = False,
        nodes: tuple[dict[str, float], ...] = ({"CPU": 2.0},), free: float = 1.0, room_seconds: float = ROOM_SECONDS,
        **changes: Any,
    ) -> None:  # fmt: skip
        super().__init__(folder, slots=2, **changes)
        self.now = 0.0
        self.memory_kills = 3  # some time before
        self.said: list[str] = []
        self.killed: list[object] = []
        self.busy = ""
        total = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
        monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
        monkeypatch.setattr("ray.cluster_resources", lambda: total)
        monkeypatch.setattr("ray.available_resources", lambda: {"CPU": free, "GPU": total["GPU"]})
        monkeypatch.setattr("ray.kill", self.killed.append)
        self.watch = ProgressWatch(
            self.search, resources=RESOURCES, timeout=timeout, say=self.said.append, clock=lambda: self.now,
            on_cluster=on_cluster, busy=lambda: self.busy, kills=MemoryKills(lambda: self.memory_kills),
            room_seconds=room_seconds,
        )  # fmt: skip
        self.scheduler = StudyScheduler(self.search, put_back=self.searcher.put_back, on_lost=self.watch.on_lost)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.watch.on_step_end(0, [])

    def lose(self, trial: Trial) -> None:
        """Ray noticed that the worker is gone, and tries no other."""
        trial.set_status(Trial.RUNNING)
        self.scheduler.on_trial_error(None, trial)
        self.searcher.on_trial_complete(trial.trial_id, error=True)
        self.watch.on_trial_error(0, [], trial)


def test_a_trial_without_progress_is_ended_at_its_timeout_and_another_gets_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=30, pruner="none")
    hanging, _ = bench.ask()  # type: ignore[misc]
    busy, _ = bench.ask()  # type: ignore[misc]
    for trial in (hanging, busy):
        bench.watch.on_trial_start(0, [], trial)
        bench.epoch(trial, 1, 0.5)
    for epoch in (2, 3, 4):
        bench.pass_time(9)
        bench.epoch(busy, epoch, 0.5)
        bench.watch.on_trial_result(0, [], busy, {})
    hanging.max_failures = 2
    bench.pass_time(4)
    assert hanging.max_failures == 0  # Ray is not to try again
    bench.lose(hanging)
    stored = open_study(tmp_path).trials[0]
    assert stored.state.name == "FAIL"
    assert stored.user_attrs["failure_kind"] == "timeout"
    assert stored.user_attrs["failure"] == "no progress for 30 s in epoch 2 (--trial-timeout)"
    assert bench.search.live == {1}
    assert isinstance(bench.ask(), tuple)


def test_without_a_timeout_nothing_is_ended_and_it_is_said_every_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.watch.on_trial_start(0, [], trial)
    bench.pass_time(200)
    assert bench.said == [
        f"no progress for {said}: trial 0 has been training epoch 1 for {said}" for said in ("1m00s", "2m00s", "3m00s")
    ]
    assert bench.search.live == {0}


def test_a_search_that_waits_for_a_place_says_what_is_asked_and_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=30, on_cluster=True)
    bench.ask()
    bench.pass_time(61)
    assert bench.said == [
        "no progress for 1m00s: a trial needs 4 CPUs and 1 GPUs; 1 of 2 CPUs and 0 of 0 GPUs are free"
    ]
    assert bench.search.fatal is None
    bench.pass_time(ROOM_SECONDS)
    assert isinstance(bench.search.fatal, NoRoomError)
    assert open_study(tmp_path).trials[0].state.name == "RUNNING"  # resumable


ROOMY = ({"CPU": 8.0, "GPU": 2.0},)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({}, "1 worker is still starting"),
        ({"on_cluster": True, "nodes": ROOMY, "free": 8.0}, "1 worker is still starting"),
        ({"on_cluster": True, "nodes": ROOMY, "free": 4.0}, "1 worker is still starting"),  # has its place
        (
            {"on_cluster": True, "nodes": ROOMY, "free": 2.0},
            "a trial needs 4 CPUs and 1 GPUs; 2 of 8 CPUs",
        ),
        ({"on_cluster": True, "nodes": ({"CPU": 2.0},) * 9, "free": 18.0}, "a trial needs 4 CPUs and 1 GPUs"),
    ],
)
def test_a_search_that_waits_for_its_workers_says_so_and_not_that_room_is_lacking(
    where: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None, **where)
    bench.ask()
    bench.pass_time(61)
    assert [line.startswith(f"no progress for 1m00s: {why}") for line in bench.said] == [True]


def test_a_busy_machine_is_named_as_a_reason_and_no_cluster_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None)
    first, _ = bench.ask()  # type: ignore[misc]
    bench.ask()
    bench.busy = "load 30 on 2 CPUs"
    bench.pass_time(61)
    bench.watch.on_trial_start(0, [], first)
    bench.pass_time(61)
    assert bench.said == [
        "no progress for 1m00s: 2 workers are still starting; other programs are using this machine (load 30 on 2 "
        "CPUs)",
        "no progress for 1m00s: trial 0 has been training epoch 1 for 1m00s; other programs are using this "
        "machine (load 30 on 2 CPUs)",
    ]


def test_what_breaks_the_whole_search_is_no_failure_of_its_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Watched(tmp_path, monkeypatch, timeout=None)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.search.fatal = OSError("disk")
    bench.lose(trial)
    assert open_study(tmp_path).trials[0].state.name == "RUNNING"


def test_a_full_disk_that_a_worker_tells_of_stops_the_search_and_fails_no_trial(tmp_path: Path):
    bench = Bench(tmp_path)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert not bench.tell(trial, failure="No space left on device; /x has 0.0 MB free", failure_kind="storage")
    assert "No space left on device; /x has 0.0 MB free" in str(bench.search.fatal)
    assert open_study(tmp_path).trials[0].state.name == "RUNNING"


def test_a_lost_worker_is_told_at_once_with_the_epoch_that_another_goes_on_from(tmp_path: Path):
    bench = Bench(tmp_path, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.epoch(trial, 1, 0.5)
    bench.search.lost_worker(trial.trial_id, kind="lost node", reason="its node was lost")
    assert bench.diary.notices == [
        "trial 0 lost its worker (its node was lost); another worker continues after epoch 1"
    ]
    bench.searcher.on_trial_complete(trial.trial_id, error=True)
    stored = open_study(tmp_path).trials[0].user_attrs
    assert (stored["failure_kind"], stored["failure"]) == (
        "lost node",
        "its worker was lost too often (its node was lost)",
    )


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        ("The actor is dead because its node has died. Node Id: 1f", "lost node", "its node was lost"),
        ("Task was killed due to the node running low on memory.", "out of memory", "the machine ran out of memory"),
        ("Worker unexpectedly exits ... (1) killed by the OOM killer ...", "lost worker", "killed, or crashed"),
        ("", "lost worker", "killed, or crashed"),
    ],
)
def test_what_ray_says_of_a_lost_worker_is_put_in_a_few_words(error: str, kind: str, reason: str):
    assert loss(error) == (kind, reason)


def lose_twice(bench: Watched, trial: Trial, *, killed: bool) -> None:
    """As Ray does: it tries another worker as long as the trial may fail."""
    trial.set_status(Trial.RUNNING)
    trial.max_failures = 2
    for _ in range(3):
        bench.memory_kills += killed
        bench.pass_time(2)
        trial.run_metadata.num_failures += 1
        if trial.should_recover():
            bench.watch.on_trial_recover(0, [], trial)
    bench.lose(trial)


def test_a_worker_that_the_kernel_ended_for_its_memory_is_replaced_once_and_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    lose_twice(bench, trial, killed=True)
    assert bench.diary.notices == [
        "trial 0 lost its worker (the machine ran out of memory); another worker continues after epoch 0"
    ]
    stored = open_study(tmp_path).trials[0].user_attrs
    assert (stored["failure_kind"], stored["failure"]) == (
        "out of memory",
        "the machine ran out of memory, and its worker was killed; run fewer trials at once (--concurrent) or smaller"
        " networks (--max-weights)",
    )


def test_a_worker_that_is_lost_for_another_reason_is_replaced_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    lose_twice(bench, trial, killed=False)
    assert (
        bench.diary.notices
        == ["trial 0 lost its worker (killed, or crashed); another worker continues after epoch 0"] * 2
    )
    stored = open_study(tmp_path).trials[0].user_attrs
    assert stored["failure"] == "its worker was lost too often (killed, or crashed)"


def test_the_reason_of_the_last_loss_is_the_one_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Watched(tmp_path, monkeypatch, timeout=None, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    trial.set_status(Trial.RUNNING)
    bench.watch.on_trial_recover(0, [], trial)
    trial.run_metadata.num_failures += 1  # as Ray counts
    bench.memory_kills += 1
    bench.lose(trial)
    assert open_study(tmp_path).trials[0].user_attrs["failure_kind"] == "out of memory"


def test_each_kill_for_memory_explains_one_worker_and_only_for_a_while():
    counted = [7]
    kills = MemoryKills(lambda: counted[0])
    assert not kills.claim(0)
    counted[0] += 2
    assert [kills.claim(moment) for moment in (1, 1, 1)] == [True, True, False]
    counted[0] += 1
    kills.look(10)
    assert not kills.claim(10 + KILL_SECONDS + 1)


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"cgroup/memory.events": "low 0\noom 5\noom_kill 3\n", "proc/vmstat": "oom_kill 9\n"}, 3),
        ({"proc/vmstat": "nr_free_pages 1\noom_kill 9\n"}, 9),
        ({"cgroup/memory.events": "low 0\n", "proc/vmstat": "oom_kill 2\n"}, 2),
        ({"proc/vmstat": "nr_free_pages 1\n"}, 0),
        ({}, 0),
    ],
)
def test_kills_for_memory_are_counted_where_the_kernel_counts_them(files: dict[str, str], count: int, tmp_path: Path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_memory_kills(cgroup=tmp_path / "cgroup", proc=tmp_path / "proc") == count


def test_a_leg_that_fails_before_it_began_is_handed_out_again(tmp_path: Path):
    """Ray gave it a warm worker that was gone by then, and does not retry that."""
    bench = Bench(tmp_path, pruner="none")
    trial, leg = bench.ask()  # type: ignore[misc]
    bench.scheduler.on_trial_error(None, trial)
    bench.searcher.on_trial_complete(trial.trial_id, error=True)
    assert open_study(tmp_path).trials[0].state.name == "RUNNING"
    again, same = bench.ask()  # type: ignore[misc]
    assert same == leg
    again.set_status(Trial.RUNNING)
    bench.scheduler.on_trial_error(None, again)
    bench.searcher.on_trial_complete(again.trial_id, error=True)
    assert open_study(tmp_path).trials[0].state.name == "FAIL"


def test_an_actor_that_is_unavailable_because_its_node_is_gone_has_lost_its_node():
    assert loss("The actor is temporarily unavailable", node_is_gone=True) == ("lost node", "its node was lost")


def test_a_stopped_process_is_ended():
    process = subprocess.Popen([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"])
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    kill_process(process.pid)
    assert process.wait(timeout=patience(10)) == -9
    kill_process(process.pid)  # gone already


def test_a_process_whose_server_dies_tells_so_and_ends_with_its_family(tmp_path: Path):
    program = (
        "import shutil, subprocess, sys, time\n"
        "from search.runtime.guard import RayGuard\n"
        "name = sys.argv[1] + '/raylet'\n"
        "shutil.copy(shutil.which('sleep'), name)\n"
        "server = subprocess.Popen([name, '60']); other = subprocess.Popen(['sleep', '60'])\n"
        "RayGuard(lambda error: print(error, other.pid, flush=True)).start()\n"
        "server.kill(); time.sleep(60)"
    )
    done = ended(program, tmp_path)
    assert done.returncode == 1, done.stderr
    *said, other = done.stdout.split()
    assert " ".join(said) == "Ray stopped: its process raylet is gone (killed, or out of memory)"
    end = time.monotonic() + patience(10)
    while is_alive(int(other)) and time.monotonic() < end:  # it has been killed, but may still be on its way out
        time.sleep(0.02)
    assert not is_alive(int(other))


@pytest.mark.parametrize("fails", [False, True])
def test_the_reaper_is_silent_only_if_the_last_words_have_been_written(fails: bool, tmp_path: Path):
    shutil.copy(str(shutil.which("sleep")), tmp_path / "raylet")
    program = (
        "import os, sys, time, subprocess\n"
        "from pathlib import Path\n"
        "from search.process.output import print_patiently\n"
        "from search.runtime import guard\n"
        "folder = Path(sys.argv[1])\n"
        "def words(error):\n"
        f"    if {fails}: raise OSError('the disk is gone')\n"
        "    print('mine')\n"
        "guard._kill = lambda family: os._exit(1)\n"  # Ray ends the process at this moment
        "reaper = guard.Reaper(folder, last_words=guard.LastWords(begun=folder, words='yours', otherwise=''))\n"
        "server = subprocess.Popen([folder / 'raylet', '60'])\n"
        "print_patiently()\n"
        "guard.RayGuard(words, reaper=reaper).start()\n"
        "server.kill(); time.sleep(60)"
    )
    done = ended(program, tmp_path)
    assert (done.stdout, "yours" in done.stderr) == (("", True) if fails else ("mine\n", False)), done.stderr


def ended(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """This program, run to its end in a process of its own with the folder as its argument."""
    words = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=patience(50), check=False)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_short_silence_of_a_cluster_s_head_is_forgiven_and_a_long_one_is_not(tmp_path: Path):
    now = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as head, socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(tmp_path / "raylet"))
        raylet.listen()
        lines = [
            Probe(address, patience_seconds=30, clock=lambda: now[0])
            for address in (head.getsockname(), str(tmp_path / "raylet"))
        ]
        now[0] = 100
        assert [line() for line in lines] == [True, True]
    now[0] = 129
    assert [line() for line in lines] == [True, True]
    now[0] = 130
    assert [line() for line in lines] == [False, False]


def test_a_lost_node_is_told_although_ray_tells_the_loss_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Watched(tmp_path, monkeypatch, timeout=None, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    monkeypatch.setattr(watch, "is_gone", lambda node_id: node_id == "gone")
    bench.watch.on_trial_result(0, [], trial, {"node_id": "gone"})
    trial.set_status(Trial.RUNNING)
    bench.watch.on_lost(trial)  # Ray asks the scheduler first
    bench.watch.on_trial_recover(0, [], trial)
    assert bench.diary.notices == [
        "trial 0 lost its worker (its node was lost); another worker continues after epoch 0"
    ]


def test_a_node_that_is_lost_in_the_first_epoch_of_a_leg_is_no_failure_of_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Watched(tmp_path, monkeypatch, timeout=None, on_cluster=True, pruner="none")
    monkeypatch.setattr("ray.get", lambda place, timeout: place)
    monkeypatch.setattr("search.execution.watch.is_gone", lambda node: node == "2" * 8)
    trial, _ = bench.ask()  # type: ignore[misc]
    where = SimpleNamespace(remote=lambda: "2" * 8)
    trial.temporary_state.ray_actor = SimpleNamespace(where=where)  # type: ignore[assignment]
    bench.watch.on_trial_start(0, [], trial)
    trial.run_metadata.num_failures = 1
    bench.watch.on_trial_recover(0, [], trial)
    assert trial.run_metadata.num_failures == 0
    assert bench.diary.notices == [
        "trial 0 lost its worker (its node was lost); another worker continues after epoch 0"
    ]


def test_a_search_without_nodes_waits_as_long_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Watched(tmp_path, monkeypatch, timeout=None, on_cluster=True, nodes=(), free=0.0, room_seconds=7200)
    bench.ask()
    bench.pass_time(7100)
    assert bench.search.fatal is None
    assert len(bench.said) == 118, "a line a minute"
    bench.pass_time(101)
    assert isinstance(bench.search.fatal, NoRoomError)
    assert str(bench.search.fatal).startswith("no trial could start for 2h00m")
