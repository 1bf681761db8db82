"""From the opening of the test set on: whatever ends an evaluation, the one before is whole, and the opening counts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from analysis import final
from analysis.evaluation import opened
from analysis.evaluation.networks import checksum
from analysis.model.load import load_model
from analysis.pages.final import final_section
from analysis.studies.openings import (
    check_opening,
    num_without_results,
    read_openings,
    record_opening,
    times_opened,
)
from analysis.studies.results import PARTS
from search.process.disk import check_room
from search.process.signals import Stopped, raise_stopped, signals_restored
from tests.disks import fill, small_disk
from tests.searching import ROOT
from tests.stored import contents
from tests.trained import Trained, trained_run
from trainables.files.whole import remove
from trainables.sources.load import load_test

__all__ = ["small_disk"]
WHY_WITHOUT = "--again, after an evaluation that ended without results"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run with one whole evaluation."""
    trained = trained_run(tmp_path_factory.mktemp("opened"))
    assert evaluate(trained) == 0
    return trained


@pytest.fixture
def evaluated(first: Trained, tmp_path: Path) -> Trained:
    return Trained(run_dir=Path(shutil.copytree(first.run_dir, tmp_path / "x")))


def evaluate(trained: Trained, *, again: bool = False) -> int:
    """Open the test set and evaluate, without the page."""
    job = trained.job(again=again)
    networks, failures = job.collect()
    job.check_before_opening(networks)
    record_opening(job.final_dir, command=job.command, why=job.why, checksum=checksum(networks))
    opened.restate(job.run_dir)
    opened.evaluate(job, load_test("digits", job.run.data_dir), networks, failures, [])
    return 0


def broken_off(trained: Trained) -> int:
    """The command, its networks trained, up to its exit code."""
    job = trained.job(again=True)
    networks, failures = job.collect()
    return final._evaluate(job, networks, failures, [], command=job.command)


def parts(trained: Trained) -> dict[str, str]:
    """Checksums of what belongs to one evaluation, but for the card, which counts openings."""
    found = contents(trained.final_dir)
    return {name: value for name, value in found.items() if name.split("/")[0] in PARTS and name != "README.md"}


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# Broken off


@pytest.mark.parametrize(
    ("stage", "action"), [(1, "raise"), (2, "term"), (3, "raise"), (4, "term"), (5, "raise"), (6, "term")]
)
def test_whatever_ends_an_evaluation_leaves_the_one_before_and_counts(evaluated, monkeypatch, capsys, stage, action):
    before = parts(evaluated)
    monkeypatch.setenv("RUNGWISE_FAULT", f"final:{stage}:{action}")
    with signals_restored():
        raise_stopped()
        code = broken_off(evaluated)
    said = capsys.readouterr()
    assert code == (1 if action == "raise" else 128 + signal.SIGTERM)
    said = said.err if action == "raise" else said.out
    assert (
        "the test set was opened, but there are no results (the results of the previous evaluation are unchanged"
        in said
    )
    assert f"python -m analysis.final {evaluated.run_dir} --again" in said
    assert parts(evaluated) == before
    assert hidden(evaluated.final_dir) == []
    assert times_opened(evaluated.final_dir) == "2 times, 1 of them without results"
    assert "opened 2 times, 1 of them without results, after" in str(final_section(evaluated.run_dir))
    card = (evaluated.final_dir / "README.md").read_text()
    assert ("opened 2 times, 1 of them without results, mean over" in card) == (stage > 1)
    assert check_opening(evaluated.final_dir, again=True) == WHY_WITHOUT


def test_a_signal_when_all_is_in_place_costs_the_page_alone(evaluated, monkeypatch, capsys):
    monkeypatch.setenv("RUNGWISE_FAULT", "final:7:term")
    with signals_restored():
        raise_stopped()
        assert broken_off(evaluated) == 128 + signal.SIGTERM
    said = capsys.readouterr().out
    assert (
        f"the results are saved, but the page is not; create it with: python -m analysis.report {evaluated.run_dir}"
        in said
    )
    assert times_opened(evaluated.final_dir) == "2 times"


@pytest.mark.slow
def test_a_killed_evaluation_leaves_the_one_before_and_the_next_one_removes_its_remains(evaluated):
    before = parts(evaluated)
    program = f"""
import sys
from pathlib import Path
from tests.test_opened import broken_off
from tests.trained import Trained
broken_off(Trained(run_dir=Path({str(evaluated.run_dir)!r})))
"""
    environment = {**os.environ, "RUNGWISE_FAULT": "final:6"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False, timeout=280)
    assert done.returncode == -signal.SIGKILL
    assert parts(evaluated) == before
    assert len(hidden(evaluated.final_dir)) == 1
    assert evaluate(evaluated, again=True) == 0
    assert hidden(evaluated.final_dir) == []
    assert times_opened(evaluated.final_dir) == "3 times, 1 of them without results"
    assert "opened 3 times, 1 of them without results, mean over" in (evaluated.final_dir / "README.md").read_text()
    assert json.loads((evaluated.final_dir / "final.json").read_text())["openings"] == 3


@pytest.fixture(scope="module")
def newer(first: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, str]:
    """The same run after a second evaluation, and what that printed."""
    run_dir = Path(shutil.copytree(first.run_dir, tmp_path_factory.mktemp("newer") / "x"))
    said = StringIO()
    with redirect_stdout(said):
        evaluate(Trained(run_dir=run_dir), again=True)
    return Trained(run_dir=run_dir), said.getvalue()


@pytest.mark.parametrize("moved", range(6))
def test_an_evaluation_that_was_killed_while_it_was_put_in_place_is_finished_by_its_readers(evaluated, newer, moved):
    (evaluated.final_dir / "model.onnx").touch()
    source, ready = newer[0].final_dir, evaluated.final_dir / ".evaluation.ready"
    ready.mkdir()
    names = [name for name in PARTS if (source / name).exists()]
    (ready / ".parts.json").write_text(json.dumps({"moved": names, "removed": ["model.onnx"]}))
    for name in names:
        target = (evaluated.final_dir if name in names[:moved] else ready) / name
        remove(target)
        shutil.copytree(source / name, target) if (source / name).is_dir() else shutil.copy(source / name, target)
    assert load_model(evaluated.run_dir).classes
    assert parts(evaluated) == parts(newer[0])
    assert (evaluated.final_dir / "README.md").read_text() == (source / "README.md").read_text()
    assert hidden(evaluated.final_dir) == []


def test_every_step_is_said(newer):
    for words in (
        "the test set is open",
        "predictions of the networks",
        "scores and intervals",
        "exporting the winner",
        "figures",
    ):
        assert words in newer[1]


def test_a_full_disk_keeps_the_test_set_closed(small_disk, first, capsys):
    trained = Trained(run_dir=Path(shutil.copytree(first.run_dir, small_disk / "x")))
    job = trained.job(again=True)
    networks, _ = job.collect()
    job.check_before_opening(networks)
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left") as full:
        job.check_before_opening(networks)
    assert len(read_openings(trained.final_dir)) == 1
    assert final._broken_off(full.value, trained.run_dir, job.command) == 1
    said = capsys.readouterr().err
    assert f"{small_disk} (tmpfs) has 0.0 MB of" in said
    assert "the test set stays sealed" in said
    assert job.command in said


def test_a_disk_that_fills_up_after_the_opening_is_named_and_costs_the_evaluation_before_nothing(
    small_disk, first, capsys
):
    trained = Trained(run_dir=Path(shutil.copytree(first.run_dir, small_disk / "x")))
    before = parts(trained)
    fill(small_disk / "filler")
    with (small_disk / "filler").open("r+b") as filler:  # as others write meanwhile
        filler.truncate(filler.seek(0, os.SEEK_END) - 100_000)
    assert broken_off(trained) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert f"{small_disk} (tmpfs) has" in said
    assert "this opening counts" in said
    assert "--again" in said
    assert parts(trained) == before
    assert len(read_openings(trained.final_dir)) == 2


def test_room_is_asked_for_without_leaving_anything(tmp_path):
    check_room(tmp_path, 10_000)
    assert list(tmp_path.iterdir()) == []


# The log


def test_a_torn_last_line_does_not_swallow_the_next_opening(tmp_path):
    record_opening(tmp_path, command="c", why="first evaluation", checksum="ab")
    log = tmp_path / "openings.jsonl"
    log.write_bytes(log.read_bytes() + b'{"when": "2026')
    record_opening(tmp_path, command="d", why="--again", checksum="cd")
    found = read_openings(tmp_path)
    assert [o.get("command") for o in found] == ["c", None, "d"]
    record_opening(tmp_path, command="e", why="--again", checksum="ef")
    assert [o.get("command") for o in read_openings(tmp_path)] == ["c", None, "d", "e"]


@pytest.mark.parametrize("text", [None, "", "\n\n", " \n"])
def test_a_log_that_was_removed_or_blanked_is_no_first_evaluation(evaluated, text):
    log = evaluated.final_dir / "openings.jsonl"
    (line,) = read_openings(evaluated.final_dir)
    log.unlink()
    if text is not None:
        log.write_text(text)
    assert read_openings(evaluated.final_dir) == [line]
    with pytest.raises(ValueError, match="opened once already, last 20"):
        check_opening(evaluated.final_dir, again=False)
    record_opening(evaluated.final_dir, command="c", why=check_opening(evaluated.final_dir, again=True), checksum="")
    assert [o["command"] for o in read_openings(evaluated.final_dir)] == [line["command"], "c"]
    assert len(log.read_text().split()) > 2, "what the results know was written back"
    assert times_opened(evaluated.final_dir) == "2 times, 1 of them without results"


@pytest.mark.parametrize("left", ["final.json", "model.json", "tables"])
def test_results_without_a_log_that_can_be_read_are_one_opening(tmp_path, left):
    (tmp_path / left).mkdir() if left == "tables" else (tmp_path / left).write_text("{broken")
    with pytest.raises(ValueError, match="once"):
        check_opening(tmp_path, again=False)
    record_opening(tmp_path, command="c", why="--again", checksum="")
    assert len(read_openings(tmp_path)) == 2


def test_a_line_that_was_damaged_later_is_counted_once(evaluated):
    log = evaluated.final_dir / "openings.jsonl"
    log.write_text("?" + log.read_text())
    assert read_openings(evaluated.final_dir) == [{}]
    assert times_opened(evaluated.final_dir) == "once"


@pytest.mark.parametrize(
    ("openings", "concluded", "expected"),
    [
        (["first"], 0, "once, without results"),
        (["first"], 1, "once"),
        (["first", "--again"], 1, "2 times, 1 of them without results"),
        (["first", WHY_WITHOUT], 2, "2 times, 1 of them without results"),
        (["first", "--again"], 2, "2 times"),
        (["first", WHY_WITHOUT, WHY_WITHOUT], 0, "3 times, 3 of them without results"),
        (["first", "--again", WHY_WITHOUT, "--again"], 3, "4 times, 2 of them without results"),
    ],
)
def test_openings_without_results_are_counted(tmp_path, openings, concluded, expected):
    lines = [json.dumps({"when": str(number), "why": why}) for number, why in enumerate(openings)]
    (tmp_path / "openings.jsonl").write_text("\n".join(lines) + "\n")
    if concluded:
        opened_then = [json.loads(line) for line in lines[:concluded]]
        (tmp_path / "final.json").write_text(json.dumps({"openings": concluded, "opened": opened_then}))
    assert times_opened(tmp_path) == expected
    assert num_without_results(tmp_path, concluding=True) == max(
        0, num_without_results(tmp_path) - (concluded < len(openings))
    )


def test_an_opening_that_cannot_be_recorded_is_none(small_disk, capsys):
    record_opening(small_disk, command="c", why="first evaluation", checksum="ab")
    before = (small_disk / "openings.jsonl").read_bytes()
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"):
        record_opening(small_disk, command="c" * 100_000, why="--again", checksum="ab")
    assert (small_disk / "openings.jsonl").read_bytes() == before


def test_a_signal_is_no_error_that_a_figure_could_swallow():
    assert not issubclass(Stopped, Exception)


def test_a_configuration_that_ranked_first_and_could_not_be_trained_is_named(evaluated: Trained):
    job = evaluated.job(again=True)
    networks, failures = job.collect()
    first, second = (contender.name for contender in job.contenders[:2])
    left = [network for network in networks if network.contender.name != first]
    record_opening(job.final_dir, command=job.command, why=job.why, checksum=checksum(left))
    opened.evaluate(job, load_test("digits", job.run.data_dir), left, failures, [])
    found = json.loads((job.final_dir / "final.json").read_text())
    assert (found["winner"], found["ahead"]) == (second, [first])
