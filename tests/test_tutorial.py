"""The tutorial on own code: every block of it runs, and does what the text says."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rungwise.cli import COMMANDS
from search.diagnosis.own_code import examine_own
from search.process.arguments import parse
from search.session.checks import check
from search.session.options import Options
from spaces.space import load
from tests.searching import ROOT, TIMEOUT_SECONDS

TEXT = (ROOT / "docs" / "tutorials" / "your-code.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMAND_LINES = [
    line.split() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_search.py").write_text(PYTHON[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my_search.py"


def test_the_program_passes_the_doctor(program: Path):
    found = {f.what: f for f in examine_own(str(program), apart=lambda function, *given: function(*given))}
    assert not any(finding.fatal for finding in found.values()), list(map(str, found.values()))
    assert found["pause"].found == "two epochs with a pause in between are identical to two without a pause"


def test_its_test_function_gives_predictions(program: Path):
    from analysis.scores.predictions import settle
    from trainables.trainable import Selection, Setting, close

    space = load(str(program))
    training = space.work.build(space.baseline, space.work.load(Selection()), Setting(epochs=1, seed=0, final=True))
    training.run_epoch()
    assert space.test is not None
    assert settle(space.test(training.result(), training.run)).kind == "classification"
    close(training)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_command_is_one_that_there_is(words: list[str], program: Path, monkeypatch: pytest.MonkeyPatch):
    for before, name in itertools.pairwise(words):
        if before == "--env":
            monkeypatch.setenv(name, "/data")
    assert words[0] == "rungwise"
    assert words[1] in COMMANDS
    if words[1] == "search":
        check(parse(Options, words[2:], prog="rungwise search"))


@pytest.mark.slow
def test_every_block_of_the_tutorial_does_what_it_says(program: Path):
    """The text as it stands, with fewer trials and seeds."""
    lines = [words for words in COMMAND_LINES if "--env" not in words]  # tests/test_own_end_to_end.py has these
    assert [words[1] for words in lines] == "doctor search search report final runs show logs".split()
    shown = [run(program, "-m", "rungwise.cli", *words[1:]) for words in map(smaller, lines[1:])]
    assert "\nbest: trial " in shown[0]
    assert "nothing to do" in shown[1] or "4 trials: " in shown[1]
    page = (program.parent / "runs" / "first" / "report" / "index.html").read_text()
    assert "with <code>run.final</code> set" in page
    assert "log loss" in page
    assert re.search(r"baseline with seed 1 finished at epoch 9, accuracy 0\.\d{4}; \d+ of \d+ trained", shown[3])
    assert re.search(r"first +\d{4}-.*finished", shown[4])
    assert shown[5].startswith("first: my_search (own code); accuracy, to maximize")
    assert shown[6] == "'first' has no logs: no trial printed anything, or the run is a published copy\n"
    (program.parent / "second.py").write_text(PYTHON[1].replace("trials=20", "trials=4") + LATER)
    said = run(program, "second.py")
    assert re.search(r"BestTrial\(number=\d, value=0\.\d+", said)
    assert "params_lr" in said
    assert said.splitlines()[-1] == "second True True"
    assert (program.parent / "runs" / "second" / "report" / "index.html").is_file()


LATER = """
    again = rw.open_run("runs/first").evaluate(seeds=1, again=True)
    scores = {entrant["name"]: entrant["scores"]["accuracy"]["value"] for entrant in again["entrants"]}
    print(rw.open_run("runs/second").settings.name, page.parent.name == "report", scores["baseline"] > 0.5)
"""


def smaller(words: list[str]) -> list[str]:
    """The same command with fewer trials and seeds."""
    fewer = {"--trials": "4", "--seeds": "1"}
    return [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]


def run(program: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=program.parent, env=environment, capture_output=True, text=True,
        timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
