"""`rungwise export`, `rungwise rm`, and runs as JSON."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rungwise import keeping, listing
from tests.searching import ROOT
from tests.stored import stored_search


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return stored_search(runs, "--name", "x", "--trials", "3", "--train-size", "60", "--max-epochs", "3")


@pytest.fixture
def copied(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "runs" / "x"))


def test_trials_and_epochs_are_exported_in_three_formats(searched: Path, tmp_path: Path, capsys):
    assert keeping.main(["export", str(searched)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].startswith("number,state,epochs,value")
    for name, read in (("t.csv", pd.read_csv), ("t.json", pd.read_json), ("t.parquet", pd.read_parquet)):
        assert keeping.main(["export", str(searched), "--out", str(tmp_path / name)]) == 0
        found = read(tmp_path / name)
        assert found["value"].tolist() == [0.5]
        assert found["params_depth"].notna().all()
        assert keeping.main(["export", str(searched), "--epochs", "--out", str(tmp_path / name)]) == 0
        assert read(tmp_path / name)["epoch"].tolist() == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.json", "t.parquet"], "nothing half-written"


def test_a_table_that_cannot_be_written_is_one_line(searched: Path, capsys):
    assert keeping.main(["export", str(searched), "--out", "trials.xlsx"]) == 2
    assert "--out must end in .csv, .json, .parquet, got 'trials.xlsx'" in capsys.readouterr().err
    assert keeping.main(["export", str(searched), "--out", "/proc/none/t.csv"]) == 2
    assert "the table cannot be written to /proc/none" in capsys.readouterr().err
    assert keeping.main(["export", "nothing", "--runs-dir", str(searched.parent)]) == 2
    assert "there is no run 'nothing'" in capsys.readouterr().err


def test_a_run_is_removed_only_with_consent(copied: Path):
    command = [sys.executable, "-m", "rungwise.cli", "rm", "x", "--runs-dir", str(copied.parent)]
    refused = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=ROOT)
    assert (refused.returncode, copied.is_dir()) == (2, True)
    assert "add --yes" in refused.stderr
    assert keeping.main(["rm", "x", "--runs-dir", str(copied.parent), "--yes"]) == 0
    assert list(copied.parent.iterdir()) == []


def test_a_run_in_use_and_the_current_folder_are_not_removed(copied: Path, capsys, monkeypatch):
    holder = "import sys, time; from pathlib import Path; from search.storage.lock import RunLock\n"
    holder += f"with RunLock(Path({str(copied)!r})): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert keeping.main(["rm", str(copied), "--yes"]) == 2
        process.kill()
    assert "run 'x' is in use by a search; stop it first" in capsys.readouterr().err
    monkeypatch.chdir(copied)
    assert keeping.main(["rm", str(copied), "--yes"]) == 2
    assert "contains the current folder" in capsys.readouterr().err
    assert copied.is_dir()


def test_one_wrong_name_removes_nothing(copied: Path, capsys):
    assert keeping.main(["rm", "x", "y", "--yes", "--runs-dir", str(copied.parent)]) == 2
    assert "there is no run 'y'" in capsys.readouterr().err
    assert copied.is_dir()
    assert keeping.main(["rm"]) == 2
    assert "RUN is missing" in capsys.readouterr().err


def test_a_link_to_a_run_is_removed_without_the_run(copied: Path, tmp_path: Path):
    link = tmp_path / "link"
    os.symlink(copied, link)
    assert keeping.main(["rm", str(link), "--yes"]) == 0
    assert (copied.is_dir(), link.exists()) == (True, False)


def test_runs_and_trials_as_json(searched: Path, capsys):
    assert listing.main(["runs", "--json", "--runs-dir", str(searched.parent)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run"], row["metric"], row["best"], row["trial"]) == ("x", "accuracy", 0.5, 0)
    assert listing.main(["show", str(searched), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["trials"] == 3
    assert [trial["state"] for trial in shown["trials"]] == ["COMPLETE"]
    assert listing.main(["show", str(searched), "0", "--json"]) == 0
    trial = json.loads(capsys.readouterr().out)
    assert [epoch["epoch"] for epoch in trial["epochs"]] == [1, 2, 3]
    assert listing.main(["runs", "--json", "--runs-dir", str(searched / "none")]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_what_is_exported_removed_or_logged_is_answered_as_json(copied: Path, tmp_path: Path, capfd):
    def answer(code: int) -> dict:
        said = capfd.readouterr().out  # pytest's own stdout is not put back in time
        found = json.loads(said[said.index('{\n  "exit_code"') :])
        assert found["exit_code"] == code
        return found

    assert keeping.main(["export", str(copied), "--out", str(tmp_path / "t.csv"), "--json"]) == 0
    assert answer(0) == {"exit_code": 0, "error": None, "rows": 1, "path": str(tmp_path / "t.csv")}
    assert keeping.main(["export", str(copied), "--json"]) == 2
    assert "--json needs --out" in answer(2)["error"]
    assert keeping.main(["rm", str(copied), "--json"]) == 2
    assert "add --yes" in answer(2)["error"]
    (copied / "logs").mkdir(exist_ok=True)
    (copied / "logs" / "trial-00000.log").write_text("hello\n")
    assert listing.main(["logs", str(copied), "--json"]) == 0
    (log,) = json.loads(capfd.readouterr().out)
    assert (log["trial"], log["failed"]) == (0, False)
    assert listing.main(["logs", str(copied), "0", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["text"] == "hello\n"
    assert keeping.main(["rm", str(copied), "--yes", "--json"]) == 0
    assert answer(0)["removed"] == ["x"]
    assert not copied.exists()
