"""Mistakes in the functions of a space of the user's own: each is answered in one line before anything starts."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution, distribution_to_json

from search import ctl, doctor, rerun
from search.diagnosis.counterpart import Counterpart
from search.diagnosis.counterpart import _compare as compare
from search.diagnosis.own_code import _check_ranges as check_ranges
from search.execution.job import Job
from search.execution.worker import TrialWorker
from search.process.answer import restore_stdout
from search.process.arguments import answering
from search.scheduling.messages import EpochResult
from search.session.config import read_options
from search.session.session import Session
from search.storage.run import write_run
from spaces.guarded import CodeError
from spaces.space import load
from tests.ledgers import make_run
from tests.searching import ROOT
from tests.stored import stored_search
from tests.workers import step

SOUND = """
import numpy as np
import optuna
import sys
import rungwise as rw

def suggest(trial):
    return {"lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}

def train(config, run):
    for epoch in run.epochs:
        run.report(accuracy=0.1 * epoch)

SPACE = rw.Space(suggest=suggest, train=train, baseline={"lr": 0.01}, metric="accuracy", epochs=3)
"""
SUGGEST = 'return {"lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}'
BASELINE = 'baseline={"lr": 0.01}'
CHOOSE = 'return {"lr": trial.suggest_categorical("lr", %s)}'
STORED = "the choices of lr must be texts, finite numbers, True, False or None, got "


def written(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    text = SOUND
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.py"
    path.write_text(text)
    return str(path)


def opened(space: str, runs: Path, *words: str) -> Session:
    given = read_options(["--space", space, "--name", "x", "--runs-dir", str(runs), *words], prog="search")
    return Session.open(given.options, given=given.names)


MISTAKES = {
    "raises": (((SUGGEST, '{}["x"]'),), "suggest() fails: raises.py, line 8: KeyError: 'x'"),
    "prunes": (((SUGGEST, "raise optuna.TrialPruned"),), "suggest() fails: prunes.py, line 8: TrialPruned"),
    "ends": (((SUGGEST, "sys.exit(3)"),), "suggest() fails: ends.py, line 8: SystemExit: 3"),
    "low": (((", 1e-3, 1.0, log=True", ", 1.0, 0.1"),), "suggest() fails: low.py, line 8: ValueError: "),
    "tuples": (((SUGGEST, CHOOSE % "[(1, 2), (3, 4)]"),), f"{STORED}(1, 2); give each choice a name"),
    "no_number": (((SUGGEST, CHOOSE % "[float('nan'), 1.0]"),), f"{STORED}nan; "),
    "infinite": (((SUGGEST, CHOOSE % "[float('inf'), 1.0]"),), f"{STORED}inf; "),
    "of_numpy": (((SUGGEST, CHOOSE % "list(np.arange(3))"),), f"{STORED}np.int64(0); convert them with .tolist()"),
    "floats": (((SUGGEST, CHOOSE % "list(np.ones(2))"),), f"{STORED}np.float64(1.0); "),
    "no_text": (((SUGGEST, CHOOSE % "['\\udcff', 'a']"),), r"the choice '\udcff' of lr must be Unicode text"),
    "no_baseline": (
        ((BASELINE, "baseline=None"),),
        'must have a value for each parameter, such as {"lr": 0.1}, got None',
    ),
    "yes": ((("epochs=3", "epochs=True"),), "epochs must be a whole number of at least 1, got True"),
    "min_yes": ((("epochs=3", "epochs=3, min_epochs=True"),), "min_epochs must lie in [1, 3], the epochs of a trial"),
    "title": ((("epochs=3", "epochs=3, title=5"),), "title must be a text, got 5"),
    "costs": ((("epochs=3", "epochs=3, costs=lambda c: c['no']"),), "costs() fails: costs.py, line 14: KeyError: 'no'"),
    "reads": ((("epochs=3", "epochs=3, data=lambda: sys.exit()"),), "data() fails: reads.py, line 14: SystemExit"),
    "draws": (
        ((", 1.0, log", ", 1.0 + np.random.rand(), log"),),
        "suggest gives lr another range when it is called again",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_space_is_one_line_before_anything_starts(name: str, tmp_path: Path):
    changes, message = MISTAKES[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message follows
        opened(written(tmp_path, name, *changes), tmp_path / "runs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [["--dry-run"], []], ids=["dry-run", "search"])
@pytest.mark.parametrize("data", ["sys.exit()", "sys.exit(3)", "__import__('argparse').ArgumentParser().parse_args()"])
def test_code_that_ends_the_program_is_answered_with_one_object(data: str, words: list[str], tmp_path: Path):
    space = written(tmp_path, "ending", ("epochs=3", f"epochs=3, data=lambda: {data}"))
    command = [sys.executable, "-m", "search.run", "--space", space, "--json", "--runs-dir", str(tmp_path / "runs")]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit_code"]) == (2, 2)
    assert found["error"].startswith("data() fails: ending.py, line 14: SystemExit")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("stop", "code"), [(SystemExit(), 0), (SystemExit(3), 3), (SystemExit("no"), 1)])
def test_a_command_that_is_ended_from_inside_still_answers(
    stop: SystemExit, code: int, capfd: pytest.CaptureFixture[str]
):
    @answering
    def command(argv: list[str]) -> int:
        raise stop

    with pytest.raises(SystemExit):
        command(["--json"])
    restore_stdout()
    assert json.loads(capfd.readouterr().out)["exit_code"] == code


def test_an_error_about_a_value_passes_as_it_is_and_a_guarded_function_can_be_sent(tmp_path: Path):
    space = load(written(tmp_path, "sent"))
    with pytest.raises(ValueError, match=r"^parameter 'lr' must lie in 0.001..1.0 \(log\), got 5$") as caught:
        space.decode({"lr": 5})
    assert not isinstance(caught.value, CodeError)
    assert pickle.loads(pickle.dumps(space)).decode({"lr": 0.1}) == {"lr": 0.1}


def test_the_error_itself_is_the_cause(tmp_path: Path):
    space = load(written(tmp_path, "caused", (SUGGEST, "assert False, 'width must be a multiple of heads'")))
    with pytest.raises(CodeError, match="AssertionError: width must be a multiple of heads") as caught:
        space.suggest(optuna.trial.FixedTrial({}))
    assert isinstance(caught.value.__cause__, AssertionError)


ASSERTS = (SUGGEST, 'lr = trial.suggest_float("lr", 0, 1)\n    assert lr != 0.5, "lr must not be 0.5"\n    return lr')


def test_a_configuration_that_the_code_refuses_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    space, mine = written(tmp_path, "asserts", ASSERTS), tmp_path / "mine.json"
    mine.write_text('{"lr": 0.5}')
    reason = "suggest() fails: asserts.py, line 9: AssertionError: lr must not be 0.5"
    with pytest.raises(ValueError, match="--try .*mine.json: ") as caught:
        opened(space, tmp_path / "runs", "--try", str(mine))
    assert str(caught.value).endswith(reason)
    run_dir = stored_search(tmp_path / "runs", "--space", space, "--name", "x")
    assert ctl.main([str(run_dir), "clone", "0", "lr=0.5"]) == 2
    assert capsys.readouterr().err.startswith(f"error: clone 0 lr=0.5: {reason}")


def test_the_doctor_says_where_suggest_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    space = written(tmp_path, "sick", (SUGGEST, '{}["x"]'))
    assert doctor.main(["--space", space, "--runs-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: suggest() fails: sick.py, line 8: KeyError: 'x'\n"


@pytest.mark.parametrize("stop", ["RuntimeError('no device')", "SystemExit(0)"])
def test_a_training_that_fails_when_it_is_repeated_is_one_line(
    stop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    space = written(tmp_path, "again", ("run.report(accuracy=0.1 * epoch)", f"raise {stop}"))
    run_dir = stored_search(tmp_path / "runs", "--space", space, "--name", "x")
    assert rerun.main([str(run_dir)]) == 2
    shown = stop.replace("('", ": ").replace("')", "").replace("(0)", ": 0")
    assert capsys.readouterr().err == f"error: trial 0 fails: again.py, line 12: {shown}\n"


def test_a_run_that_would_be_another_one_when_it_is_read_is_not_written(tmp_path: Path):
    for changes in ({"baseline": {"widths": (8, 16)}}, {"machine": {"cores": (1, 2)}}, {"title": object()}):
        with pytest.raises(ValueError, match=r"must be|cannot be stored"):
            write_run(tmp_path, make_run(**changes))
    assert list(tmp_path.iterdir()) == []


SET = (SUGGEST, 'return {"lr": trial.suggest_categorical("opt", list(OPT))}')
OF_A_SET = (SET, ("def suggest", 'OPT = {"sgd", "adam", "lion"}\n\ndef suggest'), (BASELINE, 'baseline={"opt": "sgd"}'))


def test_choices_of_a_set_are_refused_since_their_order_changes(tmp_path: Path):
    reference = written(tmp_path, "of_a_set", *OF_A_SET)
    session = opened(reference, tmp_path / "runs")
    with pytest.raises(ValueError, match="the choices of opt change their order from one process.*; use a list"):
        session.preview()
    found = {one.what: one for one in check_ranges(Counterpart(reference, session.space, variables={}, thorough=True))}
    assert found["suggest"].fatal


MANY = ", ".join(f'"c{i}": trial.suggest_categorical("c{i}", ["sgd", "adam"])' for i in range(12))


@pytest.mark.parametrize(
    "change", [('{"sgd", "adam", "lion"}', '{"sgd", 1}'), ('return {"lr"', f'return {{{MANY}, "lr"')]
)
def test_a_set_is_found_among_many_lists_and_with_one_text(change: tuple[str, str], tmp_path: Path):
    reference = written(tmp_path, "of_a_set", *OF_A_SET, change)
    with pytest.raises(ValueError, match="the choices of opt change their order from one process to the next"):
        Counterpart(reference, load(reference), variables={}).check()


@pytest.mark.parametrize("change", [("list(OPT)", "sorted(OPT)"), ('{"sgd", "adam", "lion"}', "[*{}, 'sgd', 'adam']")])
def test_choices_in_a_stated_order_are_the_same_in_another_process(change: tuple[str, str], tmp_path: Path):
    reference = written(tmp_path, "ordered", *OF_A_SET, change)
    Counterpart(reference, load(reference), variables={}, thorough=True).check()


def test_only_code_with_a_set_starts_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    listed = ("list(OPT)", '["sgd", "adam"]')
    reference = written(tmp_path, "listed", SET, (BASELINE, 'baseline={"opt": "sgd"}'), listed)
    Counterpart(reference, load(reference), variables={}).check()


def test_a_range_that_differs_in_another_process_alone_is_refused_with_the_way_out():
    here, there = ({"d": [distribution_to_json(IntDistribution(1, high))]} for high in (4, 8))
    with pytest.raises(ValueError, match="suggest gives d another range in another process.* with --env"):
        compare(here, there, elsewhere=True)
    with pytest.raises(ValueError, match="suggest gives d another range when it is called again"):
        compare(here, there)


def test_a_class_of_ones_own_with_other_arguments_is_a_space(tmp_path: Path):
    begin = "class Mine(rw.Space):\n    def __init__(self, epochs):\n        super().__init__("
    changes = ("SPACE = rw.Space(", begin), ("epochs=3)", "epochs=epochs)\n\nSPACE = Mine(3)")
    assert load(written(tmp_path, "mine", *changes)).epochs == 3


def test_code_that_fails_in_the_other_process_is_no_mistake(tmp_path: Path):
    elsewhere = ("def suggest", "import os\nif os.environ.get('PYTHONHASHSEED'): sys.exit()\n\ndef suggest")
    reference = written(tmp_path, "elsewhere", *OF_A_SET, elsewhere)
    Counterpart(reference, load(reference), variables={}, thorough=True).check()


CLASS = """
import rungwise as rw

def suggest(trial):
    return {"lr": trial.suggest_float("lr", 1e-3, 1.0, log=True)}

class Training:
    def __init__(self, config, run):
        self.epoch = 0

    def run_epoch(self):
        self.epoch += 1
        return {"accuracy": 0.1 * self.epoch}

    def state(self):
        return {"epoch": self.epoch}

    def restore(self, state):
        self.epoch = state["epohc"]

SPACE = rw.Space(suggest=suggest, task=Training, baseline={"lr": 0.01}, metric="accuracy", epochs=9)
"""


def trained(folder: Path, text: str, *, reported: int) -> EpochResult:
    """The epoch after `reported`, in a worker of its own."""
    path = folder / "classes.py"
    path.write_text(text)
    job = Job(space=str(path), arrays=None, epochs=9, metric="accuracy", checkpoints=str(folder), threads=1, cuda=False)
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup({"trial": 0, "params": {"lr": 0.01}, "seed": 1, "reported": reported}, job=job)
    return step(worker)


def continued(folder: Path, text: str) -> EpochResult:
    """The second epoch of a trial, in a worker that restores the first one."""
    assert trained(folder, text, reported=0).record is not None
    return trained(folder, text, reported=1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('self.epoch = state["epohc"]', "Training.restore fails: KeyError: 'epohc'"),
        ("raise NotImplementedError", "Training.restore fails: NotImplementedError"),
        ("raise ValueError('no')", "Training.restore fails: ValueError: no"),
    ],
)
def test_an_error_in_restore_fails_the_trial_and_is_no_damage(line: str, message: str, tmp_path: Path):
    result = continued(tmp_path, CLASS.replace('self.epoch = state["epohc"]', line))
    assert (result.failure_kind, result.failure, result.notices) == ("error", message, [])
    assert "classes.py" in result.log
    assert line in result.log


def test_a_class_that_forgets_its_epoch_is_told_apart_from_an_error_in_restore(tmp_path: Path):
    result = continued(tmp_path, CLASS.replace('self.epoch = state["epohc"]', "pass"))
    assert result.failure is None
    assert "restore left epoch 0, the state is of epoch 1" in result.notices[0]


def test_a_suggest_that_fails_in_a_worker_fails_its_trial_with_a_traceback(tmp_path: Path):
    refused = 'lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)\n    assert lr > 1, "no"\n    return lr'
    result = trained(tmp_path, CLASS.replace(SUGGEST, refused), reported=0)
    assert (result.failure_kind, result.failure) == (
        "invalid",
        "suggest() fails: classes.py, line 6: AssertionError: no",
    )
    assert "assert lr > 1" in result.log
