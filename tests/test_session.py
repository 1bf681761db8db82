"""What a search says at its beginning and its end, without Ray: nothing is trained here."""

import io
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

from search.forecast.preview import show_data
from search.process.signals import collect_signals, signals_restored
from search.runtime.guard import RayLostError
from search.runtime.resources import Resources
from search.session.options import Options
from search.session.session import Session
from search.storage.lease import hold_study
from search.storage.ledger import Ledger
from search.storage.study import resume_study
from spaces.variants import describe_variant
from tests.disks import read_only

ONE = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)


@pytest.fixture(autouse=True)
def no_signal_yet():
    """What other tests have sent to this process is forgotten."""
    with signals_restored():
        for _ in range(2):
            collect_signals(lambda: None)


def opened(runs: Path, *, resources: Resources | None = ONE, **changes: Any) -> Session:
    options = Options(**{"name": "x", "runs_dir": runs, "trials": 4, "max_epochs": 3, "train_size": 60, **changes})
    return Session.open(options, given=set(), resources=resources)


def searched(session: Session, scratch: Path, *, deadline: float | None) -> int:
    with ExitStack() as stack, signals_restored():
        held = None if session.new else hold_study(stack, session.run_dir, session.run)
        return session.search_on(scratch, stack, deadline=deadline, held=held)


def test_a_time_budget_that_ends_before_the_first_trial_leaves_nothing_usable_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert searched(opened(tmp_path), tmp_path, deadline=time.monotonic()) == 4
    said = capsys.readouterr()
    assert "0 trials: 0 finished, 0 stopped early, 0 failed; 0 epochs trained\n" in said.out
    assert "% fewer" not in said.out
    assert "the time budget is used up before any trial finished; continue with:\n" in said.out
    assert f"python -m search.run --resume --name x --runs-dir {tmp_path} --time-budget MINUTES" in said.out
    assert said.err == "error: no trial was trained to its full budget; there is no usable result yet\n"


def test_a_run_keeps_its_metric_and_a_resume_may_name_it_but_not_change_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    small: dict[str, Any] = {"space": "diabetes_mlp", "train_size": 80}
    session = opened(tmp_path, metric="pinball:0.90", **small)
    assert (session.run.metric, session.run.direction) == ("pinball:0.9", "minimize")
    assert session.dataset.metric == "pinball:0.9"
    searched(session, tmp_path, deadline=time.monotonic())
    said = capsys.readouterr().out
    assert "metric: pinball loss (quantile 0.9), smaller is better; networks are trained on the pinball loss\n" in said
    again = opened(tmp_path, metric="pinball:.9", resume=True)
    assert again.dataset.metric == "pinball:0.9"
    with pytest.raises(ValueError, match="cannot change what it searches \\(metric is 'pinball:0.9', not 'mae'\\)"):
        opened(tmp_path, metric="mae", resume=True)
    with pytest.raises(ValueError, match="--metric auc is for a classification, and this is a regression"):
        opened(tmp_path, name="y", metric="auc", **small)
    assert opened(tmp_path, name="z", **small).run.metric == "rmse"


@pytest.mark.parametrize(("epochs", "code"), [(0, 4), (1, 4), (3, 0)])
def test_a_time_budget_that_ends_later_is_a_success_once_a_trial_is_finished(
    epochs: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    session = opened(tmp_path)
    searched(session, tmp_path, deadline=time.monotonic())
    ledger = Ledger(resume_study(session.run_dir, session.run), session.run)
    ledger.add(session.run.baseline, session.space.distributions(session.run.baseline))
    for epoch in range(1, epochs + 1):
        ledger.report(0, epoch=epoch, value=0.5, record={"epoch": epoch})
    assert searched(opened(tmp_path, resume=True), tmp_path, deadline=time.monotonic()) == code
    assert ("best: trial 0, accuracy 0.5000" in capsys.readouterr().out) == (code == 0)


def test_a_database_that_is_read_only_is_bad_input_and_nothing_is_started(tmp_path: Path):
    (tmp_path / "db").mkdir()
    optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/db/all.db").engine.dispose()
    with read_only(tmp_path / "db") as view:
        session = opened(tmp_path / "runs", study_url=f"sqlite:///{view}/all.db")
        with pytest.raises(ValueError, match="the study cannot be created in .* attempt to write a readonly database"):
            searched(session, tmp_path, deadline=None)
    assert not (tmp_path / "runs" / "x").exists()


def test_what_breaks_a_begun_search_off_is_told_with_the_command_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    session = opened(tmp_path)
    searched(session, tmp_path, deadline=time.monotonic())
    capsys.readouterr()
    assert session.on_lost(RayLostError("Ray has died")) == 1
    assert capsys.readouterr().err.startswith("error: Ray has died; finished epochs are saved; resume with: python -m")


def test_a_ray_that_dies_of_the_signal_that_stops_the_search_changes_neither_words_nor_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    session = opened(tmp_path)
    searched(session, tmp_path, deadline=time.monotonic())
    capsys.readouterr()
    with signals_restored():
        collect_signals(lambda: None).append(15)
        assert session.on_lost(RayLostError("Ray has died")) == 143
        collect_signals(lambda: None)
    said = capsys.readouterr()
    assert said.out.startswith(
        "stopped by SIGTERM; all finished epochs are saved; resume with:\n  python -m search.run"
    )
    assert said.err == ""


def test_before_the_run_is_made_a_dead_ray_has_started_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert opened(tmp_path).on_lost(RayLostError("Ray has died")) == 1
    assert capsys.readouterr().err == "error: Ray has died; nothing was started\n"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (None, None),
        (
            Resources(slots=1, cpus_per_trial=2, gpus_per_trial=0.0),
            "note: 2 threads per trial, this run used 1; values",
        ),
        (Resources(slots=2, cpus_per_trial=1, gpus_per_trial=0.0), "note: 2 trials at once, this run trained one;"),
    ],
)
def test_a_resume_trains_as_the_run_did_or_says_in_a_line_that_it_does_not(
    now: Resources | None, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    searched(opened(tmp_path), tmp_path, deadline=time.monotonic())
    capsys.readouterr()
    again = opened(tmp_path, resume=True, resources=now)
    if now is None:
        assert again.resources == ONE
    searched(again, tmp_path, deadline=time.monotonic())
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    notes = [note for note in notes if "validation rows" not in note]
    assert [note.startswith(said or "") for note in notes] == ([True] if said else [])
    assert (again.run.slots, again.run.cpus_per_trial) == (1, 1)  # what the run began with stays known


def test_a_small_table_of_ones_own_has_epochs_of_several_passes_and_keeps_its_best_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    table = tmp_path / "table.csv"
    table.write_text("a,y\n" + "".join(f"{i % 7},{i * i % 11}.5\n" for i in range(200)))
    own: dict[str, Any] = {"space": "tabular_mlp", "data_dir": table, "target": "y", "train_size": None}
    session = opened(tmp_path, **own)
    rows = len(session.dataset.train)
    assert (session.run.keep_epoch, session.run.passes) == ("best", -(-32_000 // (54 * rows)))
    assert (session.run.space, session.run.baseline["target_scaling"]) == ("tabular_mlp@amounts", "standard")
    assert session.dataset.passes == session.run.passes > 1
    searched(session, tmp_path, deadline=time.monotonic())
    said = capsys.readouterr().out
    assert f"an epoch passes {session.run.passes} times over the training rows, because there are few\n" in said
    assert "each trial keeps the weights of its best epoch; its value comes from validation rows that did not" in said
    assert "note: no target is below 0, so the search includes target_scaling (standard, log, quantile)\n" in said
    assert describe_variant("tabular_mlp@amounts", fixed=["target_scaling"]) == ""
    fixed = opened(tmp_path, **{**own, "name": "fixed", "fix": ("target_scaling=log",), "folds": 1})
    console = Console(file=io.StringIO(), width=200)
    show_data(fixed.dataset, console=console)
    assert "split: the test set (a fifth of the rows) and the validation rows are drawn" in console.file.getvalue()
    assert not any("the search includes" in note for note in fixed.dataset.notes)
    again = Session.open(
        Options(space="tabular_mlp", name="x", runs_dir=tmp_path, resume=True), given={"space"}, resources=ONE
    )
    assert again.run.space == "tabular_mlp@amounts"
    with pytest.raises(ValueError, match=r"cannot change what it searches \(space is 'tabular_mlp@amounts', not 'hous"):
        Session.open(Options(space="housing_mlp", name="x", runs_dir=tmp_path, resume=True), given={"space"})
    assert (again.run.keep_epoch, again.dataset.passes) == ("best", session.run.passes)
    ranged = opened(tmp_path, name="set", set=("target_scaling=log,quantile", "depth=1..2"), **own)
    assert {one.parameter for one in ranged.run.ranges} == {"target_scaling", "depth"}
    assert ranged.run.space == "tabular_mlp@amounts"
    known = ranged.space.distributions(ranged.run.baseline)
    assert (known["target_scaling"].choices, known["depth"].high) == (("log", "quantile"), 2)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"tabular_mlp@unequal is for a classification, but this is a regression; use"):
        opened(tmp_path, **{**own, "name": "bad", "space": "tabular_mlp@unequal"})
    with pytest.raises(ValueError, match=r"--set class_weights: the space has no such parameter"):
        opened(tmp_path, name="bad", set=("class_weights=none,sqrt",), **own)
    assert opened(tmp_path, name="last", keep_epoch="last", **own).run.keep_epoch == "last"
    known = opened(tmp_path, name="digits")
    assert (known.run.keep_epoch, known.run.passes) == ("last", 1)
