"""Damaged studies and run folders are one line with the file and the way out; a strange path is no damage."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from analysis import report
from benchmarks.fuzzing.studies import contents, make_run_folder, run
from search.storage.checksums import CHECKSUM, base_checksum, final_checksum, trial_checksum, with_history
from search.storage.ledger import Ledger
from search.storage.run import read_run, rungs, stored_url, write_run
from search.storage.study import new_run, open_study, resume_study
from tests.ledgers import SECRET, fill, make_run, open_proposals


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "r"
    make_run_folder(folder)
    return folder


@pytest.fixture
def run_dir(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "r"))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE trials SET state = 'BOGUS' WHERE number = 3", "BOGUS"),
        ("DELETE FROM study_directions", r"no direction|direction must be 'maximize', got 'none'"),
        ("UPDATE alembic_version SET version_num = 'v9.9.9'", "v9.9.9|another version of Optuna"),
        ("UPDATE trials SET number = NULL WHERE number = 3", "trial None|trial 0 is missing|NoneType"),
        ("DELETE FROM trials WHERE number = 3", "the trial with the identifier 4 is missing"),
        ("DELETE FROM trials WHERE number = 9", "the trial with the identifier 10 is missing"),
        ("UPDATE trials SET study_id = 7 WHERE number = 9", "trial 9 belongs to no study"),
        ("UPDATE trials SET number = 4 WHERE number = 3", "trial 3 is missing|trial 4 occurs twice"),
        ("UPDATE trials SET number = 0 WHERE number = 9", "trial 0 occurs twice"),
        ("UPDATE trials SET number = number + 5000 WHERE number = 9", "trial 9 is missing"),
        ("UPDATE trials SET state = 'FAIL' WHERE number = 2", "trial 2: its state, .* have changed"),
        ("UPDATE trials SET state = 'COMPLETE' WHERE number = 1", "trial 1: its state, .* have changed"),
        ("UPDATE trials SET state = 'PRUNED' WHERE number = 9", "trial 9: its state, .* have changed"),
        ("UPDATE trials SET state = 'RUNNING' WHERE number = 2", "trial 2: it is running, but has ended"),
        ("UPDATE trials SET state = 'WAITING' WHERE number = 0", "trial 0: it is waiting, but has ended"),
        ("UPDATE trial_params SET param_value = 0.7 WHERE trial_id = 2 AND param_name = 'lr'", "have changed since"),
        ("DELETE FROM trial_params WHERE trial_id = 2 AND param_name = 'lr'", "have changed since"),
        (
            "UPDATE trial_params SET distribution_json = replace(distribution_json, 'mean', 'mead')",
            "have changed since",
        ),
        ("UPDATE trial_intermediate_values SET intermediate_value = 0.9 WHERE trial_id = 3", "but its record has"),
        ("DELETE FROM trial_intermediate_values WHERE trial_id = 3 AND step = 9", "8 values and 9 records"),
        ("UPDATE trial_values SET value = 0.99 WHERE trial_id = 3", "its final value is 0.99"),
        ("UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'seed'", "have changed since"),
        ("UPDATE trial_user_attributes SET value_json = '[{' WHERE key = 'history'", "JSONDecodeError"),
        ("UPDATE trial_user_attributes SET value_json = NULL WHERE key = 'history'", "NOT NULL|NoneType|TypeError"),
        ("UPDATE trials SET datetime_start = 'soon' WHERE number = 3", "soon"),
        ("DROP TABLE trial_values", "no such table|its final value is None"),
    ],
)
def test_damage_is_one_line_with_the_file_and_the_way_out_for_a_resume_and_for_a_reader(
    run_dir: Path, statement: str, reason: str
):
    with closing(sqlite3.connect(run_dir / "study.db")) as connection:
        try:
            connection.execute(statement)
        except sqlite3.IntegrityError:
            pytest.skip("the tables do not allow it")
        connection.commit()
    asked = read_run(run_dir)
    for door in (open_study, lambda folder: Ledger(resume_study(folder, asked), asked)):
        with pytest.raises(ValueError, match=reason) as told:
            door(run_dir)
        line = str(told.value)
        assert "\n" not in line
        assert "run.json" in line or (
            str(run_dir / "study.db") in line and re.search("copy|install that version", line)
        )


def test_a_study_of_an_earlier_release_whose_checksums_cover_less_is_read_and_continued(run_dir: Path):
    study = open_study(run_dir)
    with closing(sqlite3.connect(run_dir / "study.db")) as connection:
        for trial in study.get_trials(deepcopy=False):
            base = base_checksum(internal(trial), trial.user_attrs, of_state=False)
            old = with_history(base, json.dumps(trial.user_attrs["history"]))
            row = (str(old), trial.number + 1, CHECKSUM)
            connection.execute("UPDATE trial_system_attributes SET value_json = ? WHERE trial_id = ? AND key = ?", row)
        connection.commit()
    assert contents(open_study(run_dir)) == contents(study)
    asked = read_run(run_dir)
    ledger = Ledger(resume_study(run_dir, asked), asked)
    ledger.report(9, epoch=2, value=0.52, record={"epoch": 2, "accuracy": 0.52})
    ledger.finish(9, TrialState.PRUNED)
    ledger.finish(8, TrialState.FAIL, failure="lost")
    found = open_study(run_dir).get_trials(deepcopy=False)
    assert [trial.state for trial in found[8:]] == [TrialState.FAIL, TrialState.PRUNED]
    with closing(sqlite3.connect(run_dir / "study.db")) as connection:
        connection.execute("UPDATE trials SET state = 'COMPLETE' WHERE number = 8")
        connection.commit()
    with pytest.raises(ValueError, match="trial 8: its state, configuration or epochs have changed"):
        open_study(run_dir)


def test_a_trial_whose_end_was_not_stored_after_its_checksum_is_continued(run_dir: Path):
    asked = read_run(run_dir)
    storage = resume_study(run_dir, asked)
    ledger = Ledger(storage, asked)
    trial = ledger.trial(9)  # as an earlier release left it that was killed before the state followed
    checksum = final_checksum(trial, TrialState.PRUNED, base=trial_checksum(trial))
    storage.set_trial_system_attr(trial.number + 1, CHECKSUM, checksum)
    again = Ledger(resume_study(run_dir, asked), asked)
    assert again.trial(9).state == TrialState.RUNNING
    again.report(9, epoch=2, value=0.52, record={"epoch": 2, "accuracy": 0.52})
    again.finish(9, TrialState.COMPLETE)
    assert open_study(run_dir).trials[9].state == TrialState.COMPLETE


def test_trials_copied_from_another_run_and_a_trial_that_another_program_ended_are_no_damage(
    run_dir: Path, tmp_path: Path
):
    mine = open_study(run_dir)
    copied = [trial for trial in mine.trials if trial.state.is_finished()]
    other = Path(shutil.copytree(run_dir, tmp_path / "other"))
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{other}/study.db")
    study.add_trials(copied)
    study.tell(9, state=TrialState.FAIL)
    found = open_study(other).get_trials(deepcopy=False)
    assert [trial.value for trial in found[10:]] == [trial.value for trial in copied]
    assert found[9].state == TrialState.FAIL


def internal(trial: FrozenTrial) -> dict[str, Any]:
    """Distribution and internal number of each parameter."""
    return {name: (kind, kind.to_internal_repr(trial.params[name])) for name, kind in trial.distributions.items()}


def test_the_report_of_a_damaged_study_is_one_line_with_exit_code_two(run_dir: Path, capsys):
    with closing(sqlite3.connect(run_dir / "study.db")) as connection:
        connection.execute("UPDATE trials SET state = 'BOGUS' WHERE number = 3")
        connection.commit()
    assert report.main([str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {run_dir / 'study.db'} is damaged")
    assert said.count("\n") == 1


def test_a_few_random_damages_crash_nothing_and_change_nothing_unnoticed():
    outcome = run(5, seed=1)
    assert outcome["crashes"] == []
    assert outcome["changed values"] == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"reduction_factor": 1}, r"reduction_factor must be in \[2, 1e\+09\], got 1"),
        ({"min_epochs": 0}, r"min_epochs must be in \[1, 1e\+09\], got 0"),
        ({"epochs": "9"}, "epochs must be a whole number, got '9'"),
        ({"study_url": ""}, "study_url must be an address such as .*, got ''"),
        ({"storage": "9"}, "storage must be an address such as"),
        ({"epochs": None}, "epochs must be a whole number, got None"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"seed": -1}, "seed must be in"),
        ({"validation_fraction": float("nan")}, "validation_fraction must be in .* got nan"),
        ({"pruner": "ashes"}, "pruner must be one of asha, .* got 'ashes'"),
        ({"direction": ["maximize"]}, "direction must be one of maximize, minimize"),
        ({"name": "../../etc"}, "name must be the name of a folder"),
        ({"baseline": []}, "baseline must be an object"),
        ({"plan": {"a": 1}}, "plan must be a list"),
        ({"plan": [{"params": {"x": [1]}}]}, r"plan\[0\].params.x must be"),
        ({"plan": [{"seed": 1}]}, r"plan\[0\].params is missing"),
        ({"table": {"target": 3}}, "table.target must be a text, got 3"),
        ({"table": "price"}, "table must be an object, got 'price'"),
        ({"metric": "\ud800"}, "metric must be Unicode text"),
        ({"versions": {"torch": 2}}, "versions.torch must be a text"),
    ],
)
def test_run_json_is_checked_by_type_and_range(run_dir: Path, changes: dict[str, Any], rule: str):
    stored = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(stored | changes))
    with pytest.raises(ValueError, match=rule) as told:
        read_run(run_dir)
    assert str(told.value).startswith(f"{run_dir / 'run.json'} is ")
    assert str(told.value).endswith("; restore it from a copy")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", "\ufeff{}", '{"format": true}'])
def test_a_hostile_run_json_is_one_line(tmp_path: Path, content: str):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json (is damaged|does not describe a run).*; restore it from a copy"):
        read_run(tmp_path)


@pytest.mark.parametrize(("first", "factor"), [(0, 3), (1, 1), (-1, 2), (1, 0)])
def test_rungs_that_would_not_end_are_refused(first: int, factor: int):
    with pytest.raises(ValueError, match="rungs need min_epochs >= 1 and reduction_factor >= 2"):
        rungs(first, factor, epochs=9)


@pytest.mark.parametrize(
    "name",
    [
        "feature%2Flogin",
        "why?",
        "{exp}",
        "{}",
        "a#b",
        "a b",
        "größe 大",
        "a;b&c",
        "100%",
        "'quoted\"",
        "?mode=ro",
        "%00",
    ],
)
def test_a_run_lies_in_any_folder_that_the_file_system_allows(tmp_path: Path, name: str):
    folder = tmp_path / name / "r"
    new_run(folder, make_run())
    fill(open_proposals(folder, make_run()), 2)
    assert len(open_study(folder).trials) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


def test_an_old_run_with_a_password_is_shown_without_it_and_can_still_be_continued(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/studies.db?password={SECRET}"
    write_run(tmp_path, make_run(study_url=url, command=f"python -m search.run --study-url {url} --trials 3"))
    found = read_run(tmp_path)
    assert SECRET not in repr(found)
    assert found.command.endswith("studies.db?password=*** --trials 3")
    assert stored_url(tmp_path, found, "study_url") == url
    write_run(tmp_path, found)
    assert json.loads((tmp_path / "run.json").read_text())["study_url"] == url
    assert SECRET not in json.loads((tmp_path / "run.json").read_text())["command"]
