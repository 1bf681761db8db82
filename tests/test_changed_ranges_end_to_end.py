"""--resume --set for real: killed before and after the change, and read by the commands that follow."""

import signal
from pathlib import Path

import pytest

from search.storage.events import read_events
from search.storage.run import read_run
from tests.own_spaces import write_own
from tests.searching import ONE_SLOT, ROOT, RUNGWISE, Running, assert_sound, plain, rungwise, table

SET = ("--set", "lr=0.3..3.0:log", "--trials", "14")


@pytest.mark.slow
def test_ranges_change_across_kills_and_every_reader_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_own(tmp_path, "ours")
    runs = tmp_path / "runs"
    words = ["search", "--space", "ours.py", "--trials", "11", "--seed", "3", *ONE_SLOT]
    for name in ("calm", "torn"):
        done = rungwise(tmp_path, *words, "--name", name)
        assert done.returncode == 0, done.stderr
    earlier = table(runs / "calm")
    assert table(runs / "torn") == earlier

    calm = rungwise(tmp_path, "search", "--resume", "--name", "calm", *SET, *ONE_SLOT)
    assert calm.returncode == 0, calm.stderr
    assert "range of lr: 0.3..3.0 (log), in the space " in calm.stdout
    assert "before trial 11" in calm.stdout
    resume = ["search", "--resume", "--name", "torn", "--runs-dir", str(runs)]
    for point, words, written in (
        ("resumed:0", SET, False),
        ("resumed:1", SET, True),
        ("sampled:13", (), True),
    ):
        running = Running([*RUNGWISE, *resume, *words, *ONE_SLOT], cwd=tmp_path, RUNGWISE_FAULT=point)
        assert running.end() in (-signal.SIGKILL, 128 + signal.SIGKILL), running.said
        running.assert_gone()
        assert bool(read_run(runs / "torn").replaced) == written
    last = rungwise(tmp_path, *resume, *SET, *ONE_SLOT)
    assert last.returncode == 0, last.stderr
    assert table(runs / "torn") == table(runs / "calm")
    for name in ("calm", "torn"):
        assert_sound(runs / name)
        assert table(runs / name)[:11] == earlier
        assert all(0.3 <= params["lr"] <= 3 for _, params, *_ in table(runs / name)[11:])
        changes = [line for line in read_events(runs / name) if line["event"] == "range_changed"]
        assert [(line["parameter"], line["first_trial"]) for line in changes] == [("lr", 11)]

    shown = rungwise(tmp_path, "show", "calm")
    assert "range of lr 0.3..3.0 (log)\n" in shown.stdout
    assert " before trial 11, then 0.3..3.0 (log)\n" in shown.stdout
    again = rungwise(tmp_path, "rerun", "runs/calm", "--trial", "0")
    assert again.returncode == 0, again.stdout + again.stderr
    report = rungwise(tmp_path, "report", "runs/calm")
    assert report.returncode == 0, report.stderr
    assert "before trial 11, and then 0.3..3.0 (log)." in (runs / "calm" / "report" / "index.html").read_text()
    refused = rungwise(tmp_path, "search", "--resume", "--name", "calm", "--set", "lr=0.1..1:log", *ONE_SLOT)
    assert (refused.returncode, plain(refused.stderr).count("\n")) == (2, 1)
    assert "all 14 trials of run 'calm' have begun; add --trials with a larger number" in refused.stderr
