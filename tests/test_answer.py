"""--json: one object on stdout, and everything else on stderr."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import ask, compare, final, predict, publish, report
from analysis.prose.conclusion import answer_of
from analysis.studies.results import FinalResults
from rungwise import listing
from search import doctor, rerun
from search.process.answer import add_to_answer, answer, keep_stdout, restore_stdout
from search.process.arguments import answering, report_error
from search.process.signals import Stopped, signals_restored
from search.session.summary import summary
from search.storage.study import new_run
from tests.benches import Bench
from tests.ledgers import make_run
from tests.searching import ROOT, command


@pytest.fixture
def streams(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """The captured streams; stdout is put back at the end."""
    yield capfd
    restore_stdout()


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


@pytest.mark.parametrize(
    ("main", "words", "error"),
    [
        (listing.main, ["show", "nope", "--json"], "there is no run 'nope' in 'runs'"),
        (listing.main, ["show", "x", "99", "--json"], "the number of the trial must lie in 0..-1, got 99"),
        (listing.main, ["logs", "nope", "--json"], "there is no run 'nope' in 'runs'"),
        (listing.main, ["logs", "x", "88", "--json"], "trial 88 of 'x' has no log"),
        (listing.main, ["runs", "--josn", "--json"], "there is no option --josn"),
        (predict.main, ["runs/x", "x.csv", "--json"], "runs/x"),
    ],
)
def test_a_command_whose_answer_has_a_form_of_its_own_answers_an_error_like_the_others(
    main: Callable[[list[str]], int],
    words: list[str],
    error: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    new_run(tmp_path / "runs" / "x", make_run(name="x"))
    assert main(words) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["exit_code"] == 2
    assert error in found["error"]
    assert said.err == f"error: {found['error']}\n"
    assert main([word for word in words if word != "--json"]) == 2
    assert capsys.readouterr().out == ""


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


def last_object(streams: pytest.CaptureFixture[str]) -> Any:
    """The answer, behind what `print` writes past the descriptor while pytest captures it."""
    said = streams.readouterr().out
    return json.loads(said[said.index('{\n  "exit_code"') :])


def test_a_command_answers_what_it_found_and_why_it_ended(streams: pytest.CaptureFixture[str]):
    @answering
    def count(words: list[str]) -> int:
        print("prose")
        add_to_answer(words=len(words))
        return report_error(ValueError("bad")) if words[0] == "5" else int(words[0])

    for word, error in {"0": None, "4": "stderr has the reason", "143": "stopped by SIGTERM", "5": "bad"}.items():
        code = count([word, "--json"])
        assert last_object(streams) == {"exit_code": code, "error": error, "words": 2}
    count(["0"])
    assert streams.readouterr().out == "prose\n"


def test_an_error_that_nothing_foresaw_is_answered_and_help_is_printed(streams: pytest.CaptureFixture[str]):
    @answering
    def fail(words: list[str]) -> int:
        os.write(1, b"prose")
        if "--help" in words:
            return 0
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail(["--json"])
    out, err = streams.readouterr()
    assert json.loads(out) == {"exit_code": 1, "error": "KeyError: 'x'"}
    assert err == "prose"
    fail(["--json", "--help"])
    assert streams.readouterr().out == "prose"


def test_an_answer_that_cannot_be_written_is_a_failure(streams: pytest.CaptureFixture[str]):
    before, full = os.dup(1), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    try:
        code = answering(lambda words: 0)(["--json"])
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(full)
    assert code == 1
    assert "error: the answer cannot be written (No space left on device)" in streams.readouterr().err


def test_numbers_of_numpy_are_numbers(streams: pytest.CaptureFixture[str]):
    keep_stdout()
    answer({"a": np.float32(1.5), "b": np.int64(2), "c": np.float32("nan"), "d": np.bool_(True)})
    assert json.loads(streams.readouterr().out) == {"a": 1.5, "b": 2, "c": None, "d": True}


def test_a_signal_outside_of_what_a_command_handles_is_answered(streams: pytest.CaptureFixture[str]):
    @answering
    def stop(words: list[str]) -> int:
        raise Stopped(signal.SIGINT)

    with pytest.raises(Stopped):
        stop(["--json"])
    assert last_object(streams) == {"exit_code": 130, "error": "stopped by SIGINT"}


def answered(main: Callable[[list[str]], int], words: list[str], streams: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command answers; its exit code is the one that it returns."""
    with signals_restored():
        code = main([*words, "--json"])
    found = last_object(streams)
    assert found["exit_code"] == code
    return found


@pytest.mark.parametrize(
    ("main", "words", "error"),
    [
        (report.main, ["gone"], "'gone' is not a folder"),
        (ask.main, ["gone"], "'gone' is not a folder"),
        (final.main, ["gone"], "'gone' is not a run"),
        (compare.main, ["gone"], "compare needs the names of at least two runs, got 1"),
        (publish.main, ["gone"], "'gone' is not a run"),
        (rerun.main, ["gone"], "'gone' is not a run"),
        (doctor.main, ["--space", "gone"], "unknown space 'gone'"),
        (report.main, ["gone", "--sed", "1"], "there is no option --sed"),
    ],
)
def test_every_command_answers_a_mistake(main, words, error, streams, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = answered(main, words, streams)
    assert found["exit_code"] == 2
    assert error in found["error"]


def test_the_doctor_answers_with_its_findings(streams: pytest.CaptureFixture[str]):
    found = answered(doctor.main, ["--space", "digits_arch"], streams)
    assert found["can_search"]
    assert {"what": "data", "found": "digits: 1,438 rows, verified", "do": "", "fatal": False} in found["findings"]


def test_a_comparison_answers_with_numbers(streams: pytest.CaptureFixture[str]):
    folders = [str(ROOT / "results" / name) for name in ("cifar", "cifar_gpu")]
    found = answered(compare.main, folders, streams)
    (difference,) = found["differences"]
    assert (difference["first"], difference["other"], difference["tested"]) == ("cifar", "cifar_gpu", True)
    first, other = (run["test"]["accuracy"]["value"] for run in found["runs"])
    assert difference["value"] == pytest.approx(first - other)
    assert difference["low"] < difference["value"] < difference["high"] < 0
    assert found["runs"][0]["best"]["params"]["width_0"] == 22
    assert {"parameter", "agreement", "better", "worse", "why", "by_run"} == set(found["effects"][0])


def test_a_final_evaluation_answers_with_its_scores():
    results = FinalResults.read(ROOT / "results" / "housing" / "final")
    assert results is not None
    found = answer_of(results)
    best = next(entrant for entrant in found["entrants"] if entrant["name"] == found["winner"])
    assert best["scores"]["rmse"] == results.winning.scores["rmse"]
    assert {method["name"] for method in found["methods"]} >= {"gradient_boosting", "ridge"}
    assert found["verdict"]
