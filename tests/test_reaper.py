"""A private Ray ends with the process that started it, however and whenever that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from search import reaper
from search.guard import Reaper
from tests.searching import ROOT

WAIT = "import sys; sys.stdin.read()"
START = """
import time
from search.cluster import Resources, ray_session
one = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
with ray_session(one, address=None, debug=False, on_lost=print):
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
    one.communicate(b"shut down", timeout=30)
    assert inside.wait(timeout=30) == -signal.SIGKILL
    assert outside.poll() is None
    outside.communicate(timeout=30)
    inside.communicate()


def test_what_has_the_folder_in_its_environment_ends_though_it_writes_over_its_command_line(tmp_path: Path):
    one = Reaper(tmp_path)
    named = {**os.environ, **one.variables}
    inside = subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE, env=named)
    time.sleep(0.3)
    assert inside.poll() is None, "nothing ends before the search does"
    one.stop()
    assert inside.wait(timeout=30) == -signal.SIGKILL
    inside.communicate()


def test_what_starts_a_moment_after_the_kill_ends_as_well(tmp_path: Path):
    one = subprocess.Popen([sys.executable, "-I", "-S", reaper.__file__, str(tmp_path)], stdin=subprocess.PIPE)
    assert one.stdin is not None
    one.stdin.close()
    time.sleep(1)
    late = waiting(f"--temp-dir={tmp_path}/ray")
    assert late.wait(timeout=30) == -signal.SIGKILL
    late.communicate()
    one.wait(timeout=30)


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
    until = time.monotonic() + 120
    while not any(AGENT in word for one in family for word in _words(one)):
        assert driver.poll() is None, "Ray did not start"
        assert time.monotonic() < until, "the agent of Ray is named otherwise"
        family = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs(family, timeout=30)
    for one in left:
        one.kill()
    assert left == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
