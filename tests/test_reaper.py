"""A private Ray ends with the process that started it, however and whenever that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from search.runtime import reaper
from search.runtime.guard import Reaper
from tests.searching import ROOT, patience

WAIT = "import sys; sys.stdin.read()"
RENAMED = """
import ctypes, os, sys
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
begin, end, _, end_of_environment = map(int, fields[45:49])
room = (end if "SPT_NOENV" in os.environ else end_of_environment) - begin
ctypes.memset(begin, 0, room)
ctypes.memmove(begin, b"ray::IDLE", 9)
print("renamed", flush=True)
sys.stdin.read()
"""
"""Writes a name over its command line and its environment, as setproctitle does in Ray's processes."""
START = """
import time
from search.runtime.cluster import RaySession, Resources
one = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
with RaySession(one, address=None, debug=False, on_lost=print).up():
    time.sleep(600)
"""
AGENT = "runtime_env/agent/main.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def waiting(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WAIT, *map(str, words)], stdin=subprocess.PIPE)


def test_what_has_the_folder_on_its_command_line_ends_and_nothing_else(tmp_path: Path):
    inside, outside = waiting(f"--temp-dir={tmp_path}/ray"), waiting("--temp-dir=/elsewhere")
    command = [sys.executable, "-I", "-S", reaper.__file__, str(tmp_path)]
    one = subprocess.Popen(command, stdin=subprocess.PIPE)
    time.sleep(0.3)
    assert inside.poll() is None, "nothing ends before the pipe does"
    one.communicate(b"shut down", timeout=120)
    assert inside.wait(timeout=120) == -signal.SIGKILL
    assert outside.poll() is None
    outside.communicate(timeout=120)
    inside.communicate()


def renamed(**variables: str) -> subprocess.Popen[bytes]:
    one = subprocess.Popen(
        [sys.executable, "-c", RENAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **variables}
    )
    assert one.stdout is not None
    assert one.stdout.readline() == b"renamed\n"
    assert psutil.Process(one.pid).cmdline()[0] == "ray::IDLE"
    return one


def test_what_has_the_folder_in_its_environment_ends_though_it_writes_over_its_command_line(tmp_path: Path):
    one = Reaper(tmp_path)
    inside = renamed(**one.variables)
    hidden = renamed(**{name: value for name, value in one.variables.items() if name != "SPT_NOENV"})
    assert one.variables["RUNGWISE_RAY"].encode() not in Path(f"/proc/{hidden.pid}/environ").read_bytes()
    assert inside.poll() is None, "nothing ends before the search does"
    one.stop()
    assert inside.wait(timeout=60) == -signal.SIGKILL
    assert hidden.poll() is None, "a name may hide a process: so Ray's are asked to spare their environment"
    hidden.communicate()
    inside.communicate()


BEGUN, OTHERWISE = "finished epochs are saved; resume with: python -m search.run", "nothing was started; try again"


@pytest.mark.parametrize("begun", [True, False])
def test_who_is_killed_is_spoken_for(begun: bool, tmp_path: Path):
    said = spoken(tmp_path, begun=begun, word=b"")
    assert said.startswith("error: the process was killed (")
    assert said.endswith(f"; {BEGUN if begun else OTHERWISE}\n")
    assert said.count("\n") == 1


def test_a_second_signal_is_told_as_what_it_was(tmp_path: Path):
    assert spoken(tmp_path, begun=True, word=b"signal 2") == f"stopped at once by a second SIGINT; {BEGUN}\n"


@pytest.mark.parametrize("word", [b"shut down", b"said"])
def test_who_has_spoken_is_not_spoken_for(word: bytes, tmp_path: Path):
    assert spoken(tmp_path, begun=True, word=word) == ""


def test_a_signal_to_every_process_does_not_silence_the_last_words(tmp_path: Path):
    assert BEGUN in spoken(tmp_path, begun=True, word=b"", signals=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP])


def _ignores(pid: int, number: int) -> bool:
    (mask,) = re.findall(r"SigIgn:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


def spoken(folder: Path, *, begun: bool, word: bytes, signals: Sequence[int] = ()) -> str:
    """What the reaper says of a driver that ended after this word."""
    run = folder / "run.json"
    if begun:
        run.touch()
    words = [str(folder / "ray"), str(run), BEGUN, OTHERWISE]
    one = subprocess.Popen(
        [sys.executable, "-I", "-S", reaper.__file__, *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if signals:
        while not _ignores(one.pid, signal.SIGHUP):  # the last of the three
            time.sleep(0.1)
        for number in signals:
            one.send_signal(number)
    return one.communicate(word, timeout=120)[1].decode()


def test_what_starts_a_moment_after_the_kill_ends_as_well(tmp_path: Path):
    one = subprocess.Popen([sys.executable, "-I", "-S", reaper.__file__, str(tmp_path)], stdin=subprocess.PIPE)
    assert one.stdin is not None
    one.stdin.close()
    time.sleep(1)
    late = waiting(f"--temp-dir={tmp_path}/ray")
    assert late.wait(timeout=120) == -signal.SIGKILL
    late.communicate()
    one.wait(timeout=120)


def test_a_search_that_ends_in_good_order_ends_its_reaper(tmp_path: Path):
    before = set(psutil.Process().children())
    one = Reaper(tmp_path)
    assert len(set(psutil.Process().children()) - before) == 1
    one.stop()
    assert set(psutil.Process().children()) == before


@pytest.mark.slow
def test_a_driver_that_is_killed_while_an_agent_of_ray_starts_leaves_nothing():
    nowhere = subprocess.DEVNULL
    driver = subprocess.Popen([sys.executable, "-c", START], cwd=ROOT, stdout=nowhere, stderr=nowhere)
    family: list[psutil.Process] = []
    until = time.monotonic() + patience(120)
    while not any(AGENT in word for one in family for word in _words(one)):
        assert driver.poll() is None, "Ray did not start"
        assert time.monotonic() < until, "the agent of Ray is named otherwise"
        family = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs(family, timeout=patience(10))
    for one in left:
        one.kill()
    assert left == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
