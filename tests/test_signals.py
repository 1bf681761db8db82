"""Signals that end a command, sent to this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.signals import Stopped, collect_signals, others_overruled, raise_stopped, signals_restored
from tests.searching import ROOT


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    with signals_restored():
        raise_stopped()
        yield


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_command_and_tells_its_exit_code(number: signal.Signals):
    with pytest.raises(Stopped, match=f"stopped by {number.name}") as stop:
        signal.raise_signal(number)
    assert stop.value.code == 128 + number


def test_the_alarm_by_which_ray_would_abort_a_slow_end_is_taken_back():
    signal.alarm(600)
    with pytest.raises(Stopped, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    assert signal.alarm(0) == 0


def exit_as_ray_does() -> None:
    with others_overruled():
        signal.alarm(600)
        sys.exit(signal.SIGTERM)


def test_a_library_that_exits_at_a_signal_is_overruled():
    with pytest.raises(Stopped, match="SIGTERM") as stop:
        exit_as_ray_does()
    assert stop.value.code == 143
    assert signal.alarm(0) == 0


def test_a_first_signal_is_collected_once():
    told: list[None] = []
    received = collect_signals(lambda: told.append(None))
    signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert len(told) == 1


def test_a_command_leaves_with_its_code_once_all_is_said_and_cleared_away(tmp_path: Path):
    program = (
        "import sys; from search.cli import leave; from search.scratch import make_scratch\n"
        "class Slow:\n"
        "    def __del__(self): print('taken apart')\n"
        "kept = Slow()\n"
        "print(make_scratch())\n"
        "leave(3)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(str(tmp_path)), "what was printed has been written"
    assert list(tmp_path.iterdir()) == []
    assert "taken apart" not in done.stdout
