"""A search whose models are divided over two workers: either is killed, and one worker continues and evaluates it."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.searching import ROOT, RUNGWISE, Running, assert_sound, rungwise, table

pytestmark = pytest.mark.slow
ONE = ("--concurrent", "1", "--workers-per-trial", "1", "--cpus-per-trial", "1")
TWO = ("--concurrent", "1", "--workers-per-trial", "2", "--cpus-per-trial", "2")
WORDS = ("search", "--space", "ours.py", "--trials", "4", "--max-epochs", "3", "--seed", "3")
KILLS = "worker1@0:2,epoch@1:1,checkpoint@2:1"
"""Of worker 1, of worker 0, and of worker 0 before it has saved an epoch."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program of examples/ that divides its model, and a search of it that nobody disturbs."""
    folder = tmp_path_factory.mktemp("project")
    text = (ROOT / "examples" / "data_parallel.py").read_text()
    before, after = 'config["depth"]))\n    optimizer', 'config["depth"]), sharded=True)\n    optimizer'
    assert before in text
    (folder / "ours.py").write_text(text.replace(before, after))
    calm = rungwise(folder, *WORDS, *TWO, "--name", "calm")
    assert calm.returncode == 0, calm.stderr
    assert_sound(folder / "runs" / "calm")
    return folder


def test_kills_of_either_worker_and_of_the_driver_lose_nothing_of_a_sharded_model(home: Path, tmp_path: Path):
    running = Running(
        [*RUNGWISE, *WORDS, *TWO, "--name", "killed", "--max-failures", "5"],
        cwd=home,
        PYTHONPATH=str(ROOT),
        RUNGWISE_FAULT=KILLS,
        RUNGWISE_FAULT_ONCE=str(tmp_path / "struck"),
    )
    running.until(r"trial 2 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    resumed = rungwise(home, "search", "--resume", "--name", "killed", *TWO)
    assert resumed.returncode == 0, resumed.stderr
    assert_sound(home / "runs" / "killed")
    assert table(home / "runs" / "killed") == table(home / "runs" / "calm")


def test_one_worker_continues_and_evaluates_what_two_have_begun_with_a_sharded_model(home: Path):
    running = Running([*RUNGWISE, *WORDS, *TWO, "--name", "fewer"], cwd=home, PYTHONPATH=str(ROOT))
    running.until(r"trial 1 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    resumed = rungwise(home, "search", "--resume", "--name", "fewer", *ONE)
    assert resumed.returncode == 0, resumed.stderr
    assert_sound(home / "runs" / "fewer")
    for now, calm in zip(table(home / "runs" / "fewer"), table(home / "runs" / "calm"), strict=True):
        assert now[:2] == calm[:2]
        assert now[2] == pytest.approx(calm[2], abs=0.01)  # a row of 240 may be on the other side
    final = rungwise(home, "final", "runs/fewer", "--seeds", "1", "--top", "1")
    assert final.returncode == 0, final.stderr
    assert json.loads((home / "runs" / "fewer" / "final" / "final.json").read_text())["entrants"]
