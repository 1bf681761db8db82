"""A search over a user's own file, from another folder, beside folders with the names of ours: killed and resumed."""

import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

import rungwise as rw
from search.storage.run import read_run
from tests.own_spaces import WHOLE, write_own
from tests.searching import ONE_SLOT, ROOT, RUNGWISE, Running, assert_sound, rungwise, table

ANSWERS = "rw.Predictions(y_true=y, y_score=z)"
TEST = f"""
def test(model, run):
    x, y = run.data["valid"]
    with torch.no_grad():
        z = model.eval()(x)
        return {ANSWERS}

"""
OTHER_ANSWERS = {
    "rw.Predictions(y_true=torch.eye(2)[y], y_score=z.sigmoid())": "macro_f1",
    "{'accuracy': (z.argmax(1) == y).float().mean().item(), 'margin': z.std().item()}": "margin",
}
"""Several labels, plain numbers; by the metric that they get."""


@pytest.mark.slow
def test_own_code_gets_the_variables_that_are_named_and_the_run_keeps_their_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_API_TOKEN", "canary-5173")
    read = "    import os; assert os.environ['MY_API_TOKEN']\n    run.track("
    write_own(tmp_path, "reads", text=WHOLE.replace("    run.track(", read, 1))
    words = ["search", "--space", "reads.py", "--name", "x", "--trials", "2", "--sampler", "random", *ONE_SLOT]
    without = rungwise(tmp_path, *words)
    assert without.returncode != 0
    assert "--env MY_API_TOKEN" in without.stdout + without.stderr
    resume = ["search", "--resume", "--name", "x", "--trials", "4", *ONE_SLOT]
    searched = rungwise(tmp_path, *resume, "--env", "MY_API_TOKEN")
    ended = [row[-1] for row in table(tmp_path / "runs" / "x")]
    assert "COMPLETE" in ended, searched.stdout + searched.stderr
    assert read_run(tmp_path / "runs" / "x").env == ("MY_API_TOKEN",)
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or b"canary-5173" not in path.read_bytes(), path
    assert "canary-5173" not in searched.stdout + searched.stderr
    monkeypatch.delenv("MY_API_TOKEN")
    refused = rungwise(tmp_path, *resume)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: --env MY_API_TOKEN: this variable is not set; set it with: export MY_API_TOKEN=...\n"
    )


@pytest.mark.slow
def test_own_code_survives_a_kill_and_is_reported_and_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "project"
    home.mkdir()
    for name in ("analysis", "spaces"):
        (home / name).mkdir()
        (home / name / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    (home / "search.py").write_text("raise SystemExit('the wrong one')\n")
    text = WHOLE.replace("SPACE = rw.Space(", TEST + "SPACE = rw.Space(test=test,")
    for old, new in (
        ("    run.track(", "    print('training', config)\n    run.track("),
        ("Dropout(0.1)", "Dropout(config['dropout'])"),
        ('return {"lr"', "return {'dropout': trial.suggest_float('dropout', 0.0, 0.5), \"lr\""),
        ("baseline={", "baseline={'dropout': 0.2, "),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    write_own(home, "ours", text=text)
    words = ["search", "--space", "ours.py", "--trials", "6", "--seed", "3", *ONE_SLOT]
    calm = rungwise(home, *words, "--name", "calm")
    assert calm.returncode == 0, calm.stderr
    assert_sound(home / "runs" / "calm")
    assert (home / "runs" / "calm" / "source" / "ours.py").read_text() == text

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    running = Running([*RUNGWISE, *words, "--name", "killed", "--runs-dir", str(home / "runs")], cwd=home)
    running.until(r"trial 1 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    resumed = rungwise(home, "search", "--resume", "--name", "killed", *ONE_SLOT)
    assert resumed.returncode == 0, resumed.stderr
    assert table(home / "runs" / "killed") == table(home / "runs" / "calm")

    assert "training {" in rungwise(home, "logs", "calm", "0").stdout
    run = rw.open_run(home / "runs" / "calm")
    run.report(confirm=2)
    confirmed = pd.read_csv(run.folder / "confirm" / "results.csv")
    assert [text.split(":")[0] for text in confirmed.flip] == 2 * ["best", "dropout"]
    assert confirmed.value.notna().all()
    found = run.evaluate(seeds=2, top=1)
    assert [len(entrant["by_seed"]["accuracy"]) for entrant in found["entrants"]] == [2] * len(found["entrants"])
    page = (run.folder / "report" / "index.html").read_text()
    assert "dropout" in page
    assert "with <code>run.final</code> set" in page
    assert "log loss" in page
    for answers, metric in OTHER_ANSWERS.items():
        write_own(home, "ours", text=text.replace(ANSWERS, answers))
        found = run.evaluate(seeds=2, top=1, again=True)
        assert metric in found["entrants"][0]["by_seed"], "evaluated with what is trained, though the code has changed"
    write_own(home, "ours", text=text.replace(ANSWERS, "None"))
    with pytest.raises(
        RuntimeError, match=r"must return rw.Predictions.*traceback: .*error.log; the test set was opened"
    ):
        run.evaluate(seeds=2, top=1, again=True)
    assert "own_opened.py" in (run.folder / "final" / "error.log").read_text()
    assert read_run(home / "runs" / "calm").source is not None
    shutil.rmtree(home)
