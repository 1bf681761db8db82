"""The doctor on training code of the user's own: a whole program passes, each planted fault is found and named."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.diagnosis.finding import Finding
from search.diagnosis.own_code import examine_own
from search.process.quiet import quietly
from tests.own_spaces import WHOLE, write_own


def here(function: Callable[..., Any], *arguments: Any) -> Any:
    """In this process: quicker, and as good for what leaves nothing behind."""
    return function(*arguments)


def examined(path: Path, **options: Any) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine_own(str(path), **options)}


def test_a_program_without_a_fault_passes(tmp_path: Path):
    found = examined(write_own(tmp_path, "sound"), apart=here)
    assert not any(finding.fatal for finding in found.values()), list(map(str, found.values()))
    assert found["pause"].found == "two epochs with a pause in between are identical to two without a pause"
    assert found["metric"].found == (
        "loss is measured on run.data['valid'][0] and run.data['valid'][1] of run.data, which are not used for training"
    )


@pytest.mark.parametrize(
    ("fault", "what", "named"),
    [
        ("optimizer", "pause", "optimizer (SGD)"),
        ("scheduler", "pause", "scheduler (LambdaLR)"),
        ("generator", "pause", "order (Generator)"),
        ("metric", "metric", "depends only on rows that are used for training"),
    ],
)
def test_a_planted_fault_is_found_and_named(fault: str, what: str, named: str, tmp_path: Path):
    found = examined(write_own(tmp_path, f"with_{fault}", fault=fault), apart=here)
    assert [name for name, finding in found.items() if finding.fatal] == [what]
    assert named in str(found[what])


def test_a_scheduler_that_is_not_tracked_is_noted_though_two_epochs_do_not_show_it(tmp_path: Path):
    text = WHOLE.replace("LambdaLR(optimizer, lambda epoch: 0.5**epoch)", "StepLR(optimizer, step_size=10)")
    found = examined(write_own(tmp_path, "late", fault="scheduler", text=text), apart=here)
    assert not found["pause"].fatal
    assert found["tracked"].found == "not tracked: scheduler (StepLR)"


@pytest.mark.slow
def test_a_cache_that_leaks_between_the_trials_of_a_worker_is_found_and_named(tmp_path: Path):
    (tmp_path / "search.py").write_text("raise SystemExit('not for the processes of the doctor')\n")
    found = examined(write_own(tmp_path, "with_cache", fault="cache"))
    assert found["leaks"].fatal
    assert "SEEN (dict of" in found["leaks"].found
    assert not found["repeatable"].fatal


def test_a_measured_time_beside_a_repeatable_metric_is_noted_and_a_metric_that_differs_fails(tmp_path: Path):
    clock = "loss=score(model, vx, vy), latency=__import__('time').perf_counter()"
    path = write_own(tmp_path, "timed", text=WHOLE.replace("loss=score(model, vx, vy)", clock, 1))
    found = examined(path, apart=here)
    assert not any(finding.fatal for finding in found.values()), list(map(str, found.values()))
    assert str(found["reports"]).startswith("note  reports        reported latency differ in every training with")
    assert found["repeatable"].found == "the same seed gives the same bits in another process"
    forgets = WHOLE.replace(
        "    for epoch in run.epochs:", "    seen = 0\n    for epoch in run.epochs:\n        seen += 1", 1
    )
    forgets = forgets.replace("loss=score(model, vx, vy)", "loss=score(model, vx, vy), seen=seen", 1)
    found = examined(write_own(tmp_path, "forgets", text=forgets), apart=here)
    assert found["pause"].fatal, "a number that a pause alone changes is no measured time"
    assert "reported seen differ" in found["pause"].found
    text = path.read_text().replace('metric="loss"', 'metric="latency"')
    found = examined(write_own(tmp_path, "goal", text=text), apart=here)
    assert found["repeatable"].fatal
    assert "reported latency differ" in found["repeatable"].found
    text = text.replace("latency=", "beside=__import__('time').perf_counter(), latency=", 1)
    found = examined(write_own(tmp_path, "both", text=text), apart=here)
    assert "reported beside, reported latency differ" in found["repeatable"].found
    assert "reports" not in found, "nothing is fine where the metric does not repeat"


@pytest.mark.slow
def test_the_code_gets_the_environment_of_a_training_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_DATA_ROOT", "/x")
    text = WHOLE.replace("    run.track(", "    import os; os.environ['MY_DATA_ROOT']\n    run.track(", 1)
    path = write_own(tmp_path, "reads_environment", text=text)
    found = examined(path)["training"]
    assert found.fatal
    assert "KeyError: 'MY_DATA_ROOT'" in found.found
    assert "--env MY_DATA_ROOT" in found.found
    found = examined(path, env=["MY_DATA_ROOT"])
    assert not any(finding.fatal for finding in found.values()), list(map(str, found.values()))


@pytest.mark.parametrize(
    ("old", "new", "what", "said"),
    [
        ("loss=score(model, vx, vy)", "loss=0.5", "metric", "loss is 0.5 after every epoch"),
        ("loss=score(model, vx, vy)", "loss=score(model, x, y)", "metric", "loss is identical to train_loss"),
        ('direction="minimize"', 'direction="maximize"', "direction", "'loss' will be maximized"),
        (
            "        scheduler.step()\n",
            "        scheduler.step()\n        vx.add_(1)\n",
            "run.data",
            "changes it in place",
        ),
        (
            "run.track(",
            "import time; torch.manual_seed(time.time_ns())\n    run.track(",
            "repeatable",
            ("different values"),
        ),
        (
            "    run.track(",
            "    raise KeyError('depth')\n    run.track(",
            "training",
            "other_.*, line 27: KeyError: 'depth'",
        ),
        (
            "    run.track(",
            "    model(x[0, :2])\n    run.track(",
            "training",
            "line 27: RuntimeError: .*mat1",
        ),
    ],
)
def test_other_faults_are_found_as_well(old: str, new: str, what: str, said: str, tmp_path: Path):
    assert old in WHOLE
    path = write_own(tmp_path, f"other_{abs(hash(new)) % 10**6}", text=WHOLE.replace(old, new, 1))
    found = examined(path, apart=here)
    assert re.search(said, found[what].found), found[what].found
    assert found[what].do


FAILS_APART = "    if config['lr'] != 0.1: raise ValueError('too large')\n"


def test_a_random_configuration_that_fails_is_noted_and_is_not_the_baseline(tmp_path: Path):
    path = write_own(tmp_path, "some_fail", text=WHOLE.replace("    run.track(", FAILS_APART + "    run.track(", 1))
    found = examined(path, apart=here)
    assert not found["training"].fatal
    said = found["training"].found
    assert re.search(r"^a random configuration fails: some_fail.*, line 27: ValueError: too large \(lr", said), said
    assert not found["pause"].fatal


def test_what_code_prints_is_not_shown_but_the_last_line_goes_with_a_failure(capfd: pytest.CaptureFixture[str]):
    def fail() -> None:
        print("loading")
        os.write(2, b"10%\r20% of the rows\n")
        raise RuntimeError("out of rows")

    assert quietly(lambda: print("much") or 3) == 3
    with pytest.raises(RuntimeError, match="out of rows") as raised:
        quietly(fail)
    assert raised.value.__notes__ == ["printed last: 20% of the rows"]
    print("seen again")
    assert capfd.readouterr() == ("seen again\n", "")
