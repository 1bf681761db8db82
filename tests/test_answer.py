"""--json: one object on stdout, and everything else on stderr."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.process.answer import answer, keep_stdout
from search.session.summary import summary
from tests.benches import Bench
from tests.searching import ROOT, command


@pytest.fixture
def streams(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """The captured streams; stdout is put back at the end."""
    before = os.dup(1)
    try:
        yield capfd
    finally:
        os.dup2(before, 1)
        os.close(before)


def test_only_the_answer_is_on_stdout(streams: pytest.CaptureFixture[str]):
    keep_stdout()
    keep_stdout()
    os.write(1, b"prose\n")
    subprocess.run(["echo", "of a child"], check=True)
    answer({"exit_code": 0, "value": math.inf, "folder": Path("runs/x"), "inner": {"nan": [math.nan, 1.5]}})
    answer({"exit_code": 1})
    out, err = streams.readouterr()
    assert json.loads(out) == {"exit_code": 0, "value": None, "folder": "runs/x", "inner": {"nan": [None, 1.5]}}
    assert err.split() == ["prose", "of", "a", "child"]


def test_without_the_option_nothing_is_answered(capfd: pytest.CaptureFixture[str]):
    answer({"exit_code": 0})
    assert capfd.readouterr().out == ""


def test_a_reader_that_is_gone_is_no_error(streams: pytest.CaptureFixture[str]):
    ends = os.pipe()
    os.dup2(ends[1], 1)
    keep_stdout()
    for end in ends:
        os.close(end)
    answer({"text": "x" * 10_000_000})


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--json", "--trails", "5"], "there is no option --trails (did you mean --trials?); see "),
        (["--trials", "0", "--json"], "--trials must lie in [1, 1000000], got 0"),
        (["--json", "--resume", "--name", "gone"], "there is no run 'gone'"),
    ],
)
def test_an_error_is_answered_with_its_exit_code(tmp_path: Path, words: list[str], error: str):
    done = subprocess.run(command(tmp_path, *words), cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit_code"]) == (2, 2)
    assert found["error"].startswith(error) or error in done.stderr
    assert done.stderr.startswith(f"error: {found['error']}")


def test_the_option_can_stand_in_a_file(tmp_path: Path):
    (tmp_path / "my.yaml").write_text("json: true\ntrials: 0\n")
    words = command(tmp_path, "--config", str(tmp_path / "my.yaml"))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {
        "exit_code": 2,
        "error": f"--trials must lie in [1, 1000000], got 0 ({tmp_path}/my.yaml, line 2)",
    }
    assert sys.executable in words


def test_the_summary_counts_the_trials_and_names_the_best(tmp_path: Path):
    bench = Bench(tmp_path, trials=6)
    bench.train()
    found = summary(bench.search, None, run_dir=tmp_path, resume="again", code=0)
    assert (found["reason"], found["detail"], found["resume"]) == ("finished", None, "again")
    assert sum(found["trials"][name] for name in ("finished", "pruned", "failed", "unfinished")) == 6
    assert found["best"]["epochs"] == 9
    stopped = Bench(tmp_path, trials=9)
    stopped.ask()
    found = summary(stopped.search, 15, run_dir=tmp_path, resume="again", code=143)
    assert (found["reason"], found["detail"], found["trials"]["unfinished"]) == ("signal", "SIGTERM", 1)
    nothing = summary(Bench(tmp_path / "..", trials=9).search, None, run_dir=tmp_path, resume="", code=4)
    assert nothing["best"] is None
