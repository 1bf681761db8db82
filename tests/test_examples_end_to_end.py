"""The programs in examples/ by command: searched, killed, resumed, asked, reported and evaluated."""

import html
import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from search.storage.run import read_run
from search.storage.standings import best_trial
from search.storage.study import open_study
from tests.own_spaces import PROGRAMS, skip_without_packages
from tests.searching import ONE_SLOT, ROOT, RUNGWISE, Running, assert_sound, rungwise, table

pytestmark = pytest.mark.slow
QUESTIONS = {
    "data_parallel": "lr=0.001,0.01",
    "huggingface_trainer": "lr=0.001,0.01",
    "lightgbm_continued": "learning_rate=0.05,0.2",
    "lightning_module": "lr=0.001,0.01",
    "ray_tune_style": "lr=0.001,0.01",
    "sklearn_partial_fit": "alpha=0.0001,0.001",
    "speedrun": "lr=0.05,0.2",
}
TRIALS, MORE = 4, 4


def well(folder: Path, *words: str) -> str:
    """What a command prints that ends in good order."""
    done = rungwise(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_goes_all_the_way(name: str, tmp_path: Path):
    skip_without_packages(name)
    run = tmp_path / "runs" / "x"
    searched_and_killed(name, tmp_path)
    assert_sound(run)
    before = table(run)
    assert [trial[-1] for trial in before].count("FAIL") == 0

    said = well(tmp_path, "ask", "runs/x", "--question", QUESTIONS[name], "--budget", str(MORE), "--best", "2",
                "--seeds", "2")  # fmt: skip
    parameter, _, levels = QUESTIONS[name].partition("=")
    sentence = next(line for line in said.splitlines() if line.startswith(f"{parameter}: "))
    (answer,) = json.loads((run / "ask" / "answers.json").read_text())
    assert [str(level["level"]) for level in answer["levels"]] == levels.split(",")
    assert all(one["values"] for level in answer["levels"] for one in level["configurations"])
    assert len(table(run)) == TRIALS + MORE
    assert [trial[:2] for trial in table(run)[:TRIALS]] == [trial[:2] for trial in before], "a question adds trials"
    assert_sound(run)

    reported(run, tmp_path)
    assert sentence in html.unescape((run / "report" / "index.html").read_text())

    well(tmp_path, "final", "runs/x", "--seeds", "1", "--top", "1")
    final = json.loads((run / "final" / "final.json").read_text())
    assert len((run / "final" / "openings.jsonl").read_text().splitlines()) == 1
    assert {"baseline", "random"} <= {entrant["name"] for entrant in final["entrants"]}
    assert all(len(values) == 1 for entrant in final["entrants"] for values in entrant["by_seed"].values())
    predicted = rungwise(tmp_path, "predict", "runs/x", "rows.csv")
    assert (predicted.returncode, predicted.stderr.count("\n")) == (2, 1)
    assert "was searched with your own code, so no model is exported" in predicted.stderr
    assert f"{TRIALS + MORE}" in next(line for line in well(tmp_path, "runs").splitlines() if line.startswith("x"))


def searched_and_killed(name: str, folder: Path) -> None:
    """Search, killed with SIGKILL once the baseline has ended, and resumed."""
    words = ["search", "--space", str(ROOT / "examples" / f"{name}.py"), "--trials", str(TRIALS), "--max-epochs", "3",
             "--seed", "3", "--name", "x", *ONE_SLOT]  # fmt: skip
    running = Running([*RUNGWISE, *words], cwd=folder, PYTHONPATH=str(ROOT))
    running.until(r"trial 1 ")
    os.kill(running.process.pid, signal.SIGKILL)
    assert running.end() == -signal.SIGKILL
    running.assert_gone()
    assert f"{TRIALS} trials" in well(folder, "search", "--resume", "--name", "x")


def reported(run: Path, folder: Path) -> None:
    """Report with confirmation of what the best changes; where it changes nothing, without."""
    best = best_trial(open_study(run).trials, read_run(run).objective)
    assert best is not None
    if best.params == read_run(run).baseline:
        refused = rungwise(folder, "report", "runs/x", "--confirm", "2")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--confirm has nothing to change: the best configuration is the baseline" in refused.stderr
        well(folder, "report", "runs/x")
    else:
        well(folder, "report", "runs/x", "--confirm", "2")
        assert pd.read_csv(run / "confirm" / "results.csv")["value"].notna().all()
