"""Runs the real search command as a user does, and reads what is in the study afterwards."""

import os
import re
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
from optuna.trial import FrozenTrial

from search.storage.run import read_run
from search.storage.study import open_study
from tests.stories import check_story

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 1800
"""A hang, not a speed: a search of the tests takes half a minute where nothing else runs."""
GONE_SECONDS = 60
"""15 s where nothing else runs."""
LOOK_SECONDS = 0.3
ONE_SLOT = ("--concurrent", "1", "--cpus-per-trial", "1")
CALM = ("--trials", "12", "--max-epochs", "3", "--train-size", "300", "--seed", "7", *ONE_SLOT)
"""The search of the fixture `calm`, whose study must be the same every time."""


SLOW = r"^note: Ray did| so far(; |$)| is in epoch \d+ for |starting Ray and its workers; "


def patience(seconds: float) -> float:
    """Seconds of a quiet machine, on one that has more to do."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def plain(said: str) -> str:
    """What was said, without the lines that only a busy machine has time for."""
    return "".join(line for line in said.splitlines(keepends=True) if not re.search(SLOW, line))


def command(runs_dir: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "search.run", "--runs-dir", str(runs_dir), *words]


def search(runs_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Search to the end and return what was printed."""
    return subprocess.run(
        command(runs_dir, *words),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


RUNGWISE = (sys.executable, "-P", "-m", "rungwise.cli")


def rungwise(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `rungwise` to its end in this folder, as a user does who has installed it."""
    return subprocess.run(
        [*RUNGWISE, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


class Family(threading.Thread):
    """Every process that descends from one: noted while it runs, so that it is known by whatever name it gives itself,
    and wherever it goes when those between have ended."""

    def __init__(self, head: psutil.Process, mark: str) -> None:
        """
        Args:
            mark: in the environment of the family, as a second way to find it.
        """
        super().__init__(daemon=True)
        self._head, self._mark = head, mark
        self._members: set[psutil.Process] = {head}
        self._looking = threading.Lock()
        self.start()

    def run(self) -> None:
        while self.living():
            time.sleep(LOOK_SECONDS)

    def living(self) -> list[psutil.Process]:
        """Those that live now."""
        with self._looking:
            self._members |= _offspring(self._members)
            found = {p for p in self._members if _is_alive(p)}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process not in found and self._mark in process.environ().values() and _is_alive(process):
                    found.add(process)
        return sorted(found, key=lambda process: process.pid)


def _offspring(members: set[psutil.Process]) -> set[psutil.Process]:
    """All members' children and children's children: one look at all processes."""
    parents = {p.pid: p.info["ppid"] for p in psutil.process_iter(["ppid"])}
    known, new = {p.pid for p in members if p.is_running()}, set[int]()
    while more := {pid for pid, parent in parents.items() if parent in known | new} - known - new:
        new |= more
    found = set()
    for pid in new:
        with suppress(psutil.Error):
            found.add(psutil.Process(pid))
    return found


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Running:
    """A search in the background, with all that it said so far and every process that it started."""

    def __init__(self, words: list[str], *, cwd: Path = ROOT, **environment: str) -> None:
        mark = uuid.uuid4().hex
        self.said = ""
        self.process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "RUNGWISE_FAMILY": mark, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._family = Family(psutil.Process(self.process.pid), mark)

    def until(self, pattern: str) -> None:
        """Read what is said until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if re.search(pattern, line):
                return
        raise AssertionError(f"never said {pattern!r}:\n{self.said}")

    def family(self) -> list[psutil.Process]:
        """Every process of this search, also those that Ray has set apart."""
        return self._family.living()

    def end(self) -> int:
        """Read to the end and return the exit code."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(timeout=TIMEOUT_SECONDS)

    def assert_gone(self) -> None:
        """I9: nothing is left of the search after a while."""
        deadline = time.monotonic() + patience(GONE_SECONDS)
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [f"{p.pid} {p.name()} {p.status()} {p.cmdline()[:3]}" for p in left if p.is_running()] == []


def trials_of(run_dir: Path) -> list[FrozenTrial]:
    return open_study(run_dir).trials


def table(run_dir: Path) -> list[tuple]:
    """What must be equal between two searches that are the same: parameters, values, states."""
    return [(t.number, t.params, t.intermediate_values, t.value, t.state.name) for t in trials_of(run_dir)]


def assert_sound(run_dir: Path) -> None:
    """The invariants that hold after every fault: each trial once, each epoch once, no gap, histories complete."""
    run, trials = read_run(run_dir), trials_of(run_dir)
    tried = [t for t in trials if "infeasible" not in t.user_attrs]
    assert len(tried) == run.trials
    assert [t.number for t in trials] == list(range(len(trials)))
    for trial in tried:
        assert trial.state.is_finished()
        epochs = sorted(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        assert [record["epoch"] for record in trial.user_attrs.get("history", [])] == epochs
        if trial.state.name == "COMPLETE":
            assert len(epochs) == run.epochs
            assert trial.value == trial.intermediate_values[run.epochs]
        if trial.state.name == "PRUNED":
            assert 0 < len(epochs) < run.epochs
            assert trial.value == trial.intermediate_values[len(epochs)]
    if (run_dir / "events.jsonl").exists():
        check_story(run_dir)


QUICK_FILES = {
    "search/storage/rdb.py", "search/storage/bulk.py", "search/algorithms/tpe.py", "search/execution/warm.py",
}  # fmt: skip
"""Files of private parts, which nobody imports in plain mode; others ask `is_plain` before each of theirs."""
