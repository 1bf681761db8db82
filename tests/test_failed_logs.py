"""`rungwise logs RUN TRIAL` says why a trial failed, also if that left no traceback."""

import json
from pathlib import Path

import pytest

from rungwise import listing
from search.scheduling.messages import EpochResult
from search.storage.logs import TrialLogs, logs_of
from tests.benches import Bench

REASON = "epoch 1: the training loss is nan"


@pytest.mark.parametrize("printed", ["", "one\n", "no end of line"])
def test_a_log_ends_with_the_reason_of_the_failure(printed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bench = Bench(tmp_path)
    asked, _ = bench.ask()  # type: ignore[misc]
    bench.search.on_result(asked.trial_id, EpochResult(failure=REASON, failure_kind="diverged"))  # type: ignore[union-attr]
    TrialLogs(logs_of(tmp_path)).append(0, printed)
    assert listing.main(["logs", str(tmp_path), "0"]) == 0
    end = "" if printed.endswith("\n") or not printed else "\n"
    assert capsys.readouterr().out == f"{printed}{end}trial 0 failed: {REASON}\n"
    assert listing.main(["logs", str(tmp_path), "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["failure"], found["text"]) == (REASON, printed)


def test_a_reason_that_the_log_has_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bench = Bench(tmp_path)
    asked, _ = bench.ask()  # type: ignore[misc]
    log = "Traceback (most recent call last):\nValueError: no\n"
    bench.search.on_result(asked.trial_id, EpochResult(failure="ValueError: no", failure_kind="error"))  # type: ignore[union-attr]
    TrialLogs(logs_of(tmp_path)).append(0, log)
    assert listing.main(["logs", str(tmp_path), "0"]) == 0
    assert capsys.readouterr().out == log
