"""A tour of deaths: one search is ended in every way there is, resumed each time, and ends as the undisturbed one."""

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from search.storage.run import read_run
from search.storage.standings import best_trial
from search.storage.study import open_study
from search.storage.trials import epochs_reached
from tests.searching import CALM, ROOT, Running, assert_sound, command, patience, search, table, trials_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
Epochs = dict[tuple[int, int], tuple[float, float]]
"""(trial, epoch) -> value, and when its training began: trained once more, it would be another time."""


def killed_at(point: str) -> Callable[[list[str]], tuple[int, str]]:
    """kill -9 of the driver between two writes."""

    def die(words: list[str]) -> tuple[int, str]:
        running = Running(words, RUNGWISE_FAULT=point)
        code = running.end()
        running.assert_gone()
        return code, running.said

    return die


def signalled(*numbers: int) -> Callable[[list[str]], tuple[int, str]]:
    """Signals to the driver once an epoch has been stored."""

    def die(words: list[str]) -> tuple[int, str]:
        running = Running(words)
        running.until("trial .* at epoch")
        began = time.monotonic()
        for number in numbers:
            running.process.send_signal(number)
            time.sleep(0.3)
        code = running.end()
        assert time.monotonic() - began < patience(60), "15 s on a machine with nothing else to do"
        running.assert_gone()
        return code, running.said

    return die


def stopped_early(words: list[str]) -> tuple[int, str]:
    """SIGTERM before Ray is up."""
    running = Running(words)
    running.until("if interrupted: ")
    running.process.terminate()
    code = running.end()
    running.assert_gone()
    return code, running.said


def bereft_of(server: str) -> Callable[[list[str]], tuple[int, str]]:
    """kill -9 of a server process of Ray, or of one of its agents."""

    def die(words: list[str]) -> tuple[int, str]:
        running = Running(words)
        running.until("trial .* at epoch")
        (victim,) = [process for process in running.family() if server in _names(process)]
        began = time.monotonic()
        victim.send_signal(signal.SIGKILL)
        code = running.end()
        assert time.monotonic() - began < patience(60), "5 s on a machine with nothing else to do"
        running.assert_gone()
        return code, running.said

    return die


def _names(process: psutil.Process) -> tuple[str, ...]:
    """What a process calls itself; nothing for one that has just ended."""
    with suppress(psutil.Error):
        return process.name(), *process.cmdline()[:1]
    return ()


def unread(words: list[str]) -> tuple[int, str]:
    """`| head -1`."""
    process = subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    process.stdout.close()
    said = line + process.stderr.read()
    process.stderr.close()
    return process.wait(timeout=600), said


def all_signalled(words: list[str]) -> tuple[int, str]:
    """SIGTERM to every process at once, as a batch system sends it, and `timeout` to a process group."""
    running = Running(words)
    running.until("trial .* at epoch")
    for process in sorted(running.family(), key=psutil.Process.create_time):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    code = running.end()
    running.assert_gone()
    return code, running.said


KILLED = "error: the process was killed .* finished epochs are saved; resume with: python"
AT_ONCE = "stopped at once by a second SIGINT; finished epochs are saved; resume with: python"
STOPPED = "all finished epochs are saved; resume with:"
Ending = tuple[int, str]
"""Exit code, and a pattern for what the search has said."""
BY_RAY: Ending = (1, KILLED)
"""Rarely, Ray ends a driver that has lost a server before the driver has answered."""
TOUR: list[tuple[Callable[[list[str]], tuple[int, str]], list[Ending]]] = [
    (killed_at("recorded:2"), [(-signal.SIGKILL, KILLED)]),
    (stopped_early, [(143, "stopped by SIGTERM; finished epochs are saved; resume with: python")]),
    (signalled(signal.SIGINT), [(130, f"stopped by SIGINT; {STOPPED}")]),
    (signalled(signal.SIGHUP), [(129, f"stopped by SIGHUP; {STOPPED}")]),
    (
        signalled(signal.SIGINT, signal.SIGINT),
        [
            (130, f"stopped by SIGINT; {STOPPED}"),  # a key that was pressed twice
            (-signal.SIGINT, AT_ONCE),  # a busy machine has handled the second a second later
        ],
    ),
    (unread, [(1, "error: nothing reads the output any more; finished epochs are saved; resume with: python")]),
    (bereft_of("raylet"), [(1, "error: Ray stopped: its process.* raylet.* gone .* resume with: python"), BY_RAY]),
    (
        bereft_of("gcs_server"),
        [(1, "error: Ray stopped: its process.* gcs_server.* gone .* resume with: python"), BY_RAY],
    ),
    (bereft_of("ray::RuntimeEnvAgent"), [(1, "error: Ray stopped: its process.* resume with: python"), BY_RAY]),
    (  # Ray's servers stop at the same signal, and may end a driver that has answered before it has gone
        all_signalled,
        [(143, f"stopped by SIGTERM; {STOPPED}"), BY_RAY, (1, f"stopped by SIGTERM; {STOPPED}")],
    ),
]


def epochs(run_dir: Path) -> Epochs:
    return {
        (t.number, record["epoch"]): (t.intermediate_values[record["epoch"]], record["started"])
        for t in trials_of(run_dir)
        for record in t.user_attrs.get("history", [])
        if record["epoch"] in t.intermediate_values
    }


def best(run_dir: Path) -> tuple[int, float | None, str] | None:
    """Number, value and checksum of the checkpoint of the best finished trial."""
    trial = best_trial(trials_of(run_dir), read_run(run_dir).objective)
    if trial is None:
        return None
    state = run_dir / "checkpoints" / f"trial-{trial.number:05d}" / f"epoch-{epochs_reached(trial):04d}" / "state.pt"
    return trial.number, trial.value, hashlib.sha256(state.read_bytes()).hexdigest()


def pasted(said: str) -> list[str]:
    """The last command to resume that was printed, as a shell reads it."""
    lines = re.findall(r"python -m search\.run --resume .*", said)
    return [sys.executable, *shlex.split(lines[-1])[1:]]


def test_a_search_that_is_ended_in_every_way_ends_as_the_undisturbed_one(calm, tmp_path: Path):
    runs = tmp_path / "a place"
    words = command(runs, "--name", "x", *CALM)
    known: Epochs = {}
    leaders: dict[int, tuple] = {}
    for die, endings in TOUR:
        code, said = die(words)
        if not any(code == expected and re.search(message, said) for expected, message in endings):
            pytest.fail(f"{code} is none of {endings}:\n{said}")
        assert "Traceback" not in said
        now = epochs(runs / "x")
        assert known.items() <= now.items()
        leader = best(runs / "x")
        known, words = now, pasted(said)
        if leader is not None:
            number, *rest = leader
            assert leaders.setdefault(number, tuple(rest)) == tuple(rest)
    moved = tmp_path / "elsewhere"
    runs.rename(moved)
    done = search(moved, "--name", "x", "--resume")  # one slot and its threads are known
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(moved / "x")
    assert known.items() <= epochs(moved / "x").items()
    assert table(moved / "x") == table(calm[0])
    assert best(moved / "x") is not None
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(runs) in " ".join(p.info["cmdline"] or [])]
    assert open_study(moved / "x").user_attrs == {}
