"""Runs the real search command as a user does, and reads what is in the study afterwards."""

import os
import re
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
from optuna.trial import FrozenTrial

from search.study import open_study, read_run

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 600
"""A hang, not a speed: a search of the tests takes half a minute."""
GONE_SECONDS = 60
"""15 s where nothing else runs."""
ONE_SLOT = ("--concurrent", "1", "--cpus-per-trial", "1")
CALM = ("--trials", "12", "--max-epochs", "3", "--train-size", "300", "--seed", "7", *ONE_SLOT)
"""The search of the fixture `calm`, whose study must be the same every time."""


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


class Running:
    """A search in the background, with all that it said so far and every process that it started."""

    def __init__(self, words: list[str], **environment: str) -> None:
        self._family = uuid.uuid4().hex
        self.said = ""
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "RUNGWISE_FAMILY": self._family, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

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
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("RUNGWISE_FAMILY") == self._family and process.status() != "zombie":
                    found.append(process)
        return found

    def end(self) -> int:
        """Read to the end and return the exit code."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(timeout=TIMEOUT_SECONDS)

    def assert_gone(self) -> None:
        """I9: nothing is left of the search after a while."""
        deadline = time.monotonic() + GONE_SECONDS
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
