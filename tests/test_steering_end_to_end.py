"""Real searches that are steered while they run, killed and resumed; and a whole study driven by JSON alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.storage.requests import requests_of
from search.storage.study import open_study
from tests.own_spaces import WHOLE, write_own
from tests.searching import (
    ONE_SLOT,
    ROOT,
    TIMEOUT_SECONDS,
    Running,
    command,
    patience,
    rungwise,
    search,
    table,
    trials_of,
)
from tests.stories import check_story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SLOW = WHOLE.replace("import torch\n", "import time\nimport torch\n", 1).replace(
    "        model.train()\n", "        time.sleep(0.7)\n        model.train()\n", 1
)
"""Own code with epochs that last long enough for requests to arrive between them."""
WORDS = ("--trials", "9", "--max-epochs", "9", "--train-size", "1000", "--seed", "7", *ONE_SLOT)

MANY = ("--trials", "100", *WORDS[2:])


def asked(folder: Path, *words: str) -> dict[str, Any]:
    """The answer of a command as a program gets it."""
    done = rungwise(folder, *words, "--json")
    found = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    return found


def ctl(folder: Path, *words: str) -> dict[str, Any]:
    return asked(folder, "ctl", "x", *words, "--wait", "120")


def steered(folder: Path) -> list[tuple]:
    return [(one.number, one.text, one.state, one.answer, one.trials) for one in requests_of(open_study(folder))]


def test_a_search_that_is_steered_while_it_runs_killed_and_resumed_does_each_thing_once(tmp_path: Path):
    run_dir = tmp_path / "runs" / "x"
    own = ("--space", str(write_own(tmp_path, text=SLOW)), "--trials", "9", "--max-epochs", "9", *ONE_SLOT)
    running = Running(command(tmp_path / "runs", "--name", "x", *own))
    running.until("trial 0 .* at epoch")
    clone = ctl(tmp_path, "clone", "0", "lr=0.05", "width=4")
    assert clone["request"]["state"] == "accepted", clone
    (copy,) = clone["request"]["trials"]
    assert ctl(tmp_path, "stop", "99")["error"].startswith("stop 99: the search has no trial 99")
    assert ctl(tmp_path, "pause", str(copy))["request"]["state"] == "accepted"
    running.process.send_signal(signal.SIGKILL)
    running.end()
    running.assert_gone()
    stored = ctl(tmp_path, "finish")["request"]
    assert (stored["state"], stored["number"]) == ("waiting", None)
    done = search(tmp_path / "runs", "--name", "x", "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"paused by request: trial {copy}" in done.stdout
    trials = trials_of(run_dir)
    assert [t.user_attrs.get("cloned_from") for t in trials if t.number == copy] == [0]
    assert [t.number for t in trials if not t.state.is_finished()] == [copy], "it waits for a resume"
    assert [one[2] for one in steered(run_dir)] == ["accepted", "refused", "accepted", "accepted"]
    assert len(trials) < 9, "it was told to finish"
    ctl(tmp_path, "resume", str(copy))
    assert search(tmp_path / "runs", "--name", "x", "--resume").returncode == 0
    trials = trials_of(run_dir)
    assert all(t.state.is_finished() for t in trials)
    assert len(trials[copy].intermediate_values) == 9
    before = table(run_dir), steered(run_dir)
    assert search(tmp_path / "runs", "--name", "x", "--resume").returncode == 0
    assert (table(run_dir), steered(run_dir)) == before, "what was asked is replayed, and not done again"
    events = check_story(run_dir)
    answered = [line for line in events if line["event"] in ("request_accepted", "request_refused")]
    assert [line["request"] for line in answered] == [1, 2, 3, 4, 5]


def test_a_steered_search_that_is_killed_at_its_writes_ends_as_the_one_that_was_not(tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    assert search(calm / "runs", "--name", "x", *WORDS, RUNGWISE_FAULT="recorded:2").returncode == -signal.SIGKILL
    (calm / "own.json").write_text(json.dumps([{"kernel_size": 5}, {"kernel_size": 3}]))
    for words in (("clone", "0", "momentum=0.85"), ("stop", "0"), ("add", "own.json"), ("finish",)):
        assert asked(calm, "ctl", "x", *words)["request"]["state"] == "waiting"
    shutil.copytree(calm, torn)
    for point in ("answered:2", "sampled:3"):
        assert search(torn / "runs", "--name", "x", "--resume", RUNGWISE_FAULT=point).returncode == -signal.SIGKILL
    found = []
    for folder in (calm, torn):
        done = search(folder / "runs", "--name", "x", "--resume")
        assert done.returncode == 0, done.stdout + done.stderr
        check_story(folder / "runs" / "x")
        found.append((table(folder / "runs" / "x"), steered(folder / "runs" / "x")))
    assert found[1] == found[0]
    assert [one[4] for one in found[0][1]] == [(1,), (), (2, 3), ()]


@pytest.fixture
def background(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A search of which only its answer is read."""
    words = [*(sys.executable, "-P", "-m", "rungwise.cli"), "search", "--name", "x", *MANY, "--json"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()  # closes its pipe


def test_a_script_drives_dry_run_search_steering_report_and_final_by_json_alone(
    tmp_path: Path, background: subprocess.Popen[str]
):
    preview = asked(tmp_path, "search", "--name", "y", *MANY, "--dry-run")
    assert preview["settings"]["trials"] == 100
    assert preview["forecast"]
    deadline = time.monotonic() + patience(300)
    while not any(one["state"] == "RUNNING" for one in _trials(tmp_path)):
        assert time.monotonic() < deadline
        assert background.poll() is None
        time.sleep(0.5)
    clone = ctl(tmp_path, "clone", "0")["request"]
    assert clone["state"] == "accepted"
    assert ctl(tmp_path, "finish")["request"]["state"] == "accepted"
    result = json.loads(background.communicate(timeout=TIMEOUT_SECONDS)[0])
    assert background.returncode == result["exit_code"] == 0
    assert [one["text"] for one in result["requests"]] == ["clone 0", "finish"]
    assert ctl(tmp_path)["requests"] == result["requests"]
    shown = asked_plain(tmp_path, "show", "x")
    assert shown["requests"] == result["requests"]
    assert shown["state"] == "finished"
    assert shown["trials"][clone["trials"][0]]["attrs"]["cloned_from"] == 0
    report = asked(tmp_path, "report", "runs/x")
    assert "A person steered this search while it ran, with 2 requests: 1 clone, 1 finish." in report["summary"]
    assert "A person steered this search" in (tmp_path / report["page"]).read_text(encoding="utf-8")
    final = asked(tmp_path, "final", "runs/x", "--top", "1", "--seeds", "2", "--epochs", "2")
    assert final["winner"]
    (listed,) = asked_plain(tmp_path, "runs")
    assert listed["best"] == result["best"]["value"]


def asked_plain(folder: Path, *words: str) -> Any:
    """What a command prints that only reads: JSON without an exit code."""
    done = rungwise(folder, *words, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def _trials(folder: Path) -> list[dict[str, Any]]:
    shown = asked_plain(folder, "show", "x")
    return [] if shown is None else shown["trials"]
