"""Every option has a rule; breaking it is one line and exit code 2, before torch or Ray is imported."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from search.process.signals import signals_restored
from search.run import main
from search.session.options import Options, resume_command
from search.session.rules import parse_count
from search.storage.folder import check_name, new_name
from search.storage.lock import RunLock
from search.storage.study import new_run
from spaces.origin import short_name
from tests.ledgers import make_run
from tests.mistakes import COMMANDS, MISTAKES
from tests.searching import ROOT, command

FLAGS = (
    "space config name trials time_budget until_gain repeats max_epochs min_epochs reduction_factor pruner sampler"
    " metric objective keep_epoch fix set question prior earlier tries seed data_dir target task"
    " drop types split folds image_size resize backbone runs_dir"
    " train_size max_weights max_macs resume force study_url storage keep_best address concurrent"
    " cpus_per_trial gpus_per_trial workers_per_trial env mps max_failures max_wait trial_timeout logger dry_run json"
    " debug"
).split()
WORDS = {"tries": "try", "earlier": "from"}


@pytest.mark.parametrize(
    ("command", "words", "message"),
    MISTAKES,
    ids=[" ".join([name, *words])[:60] for name, words, _ in MISTAKES],
)
def test_a_bad_option_is_one_line_with_exit_code_two_and_no_file(
    command: str, words: list[str], message: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with signals_restored():
        assert COMMANDS[command](words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert "secret" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_the_flags_are_those_that_users_know():
    assert [f.name for f in fields(Options)] == FLAGS


@pytest.mark.parametrize(
    "words",
    [
        ["--trials", "0"],
        ["--space", "cifr_arch"],
        ["--help"],
        ["--min-epochs", "5000"],
        ["--train-size", "5"],
        ["--space", "cifar_small", "--train-size", "1000000"],
        ["--target", "price"],
    ],
)
def test_a_mistake_and_a_question_are_answered_without_importing_torch_or_ray(words: list[str]):
    program = (
        "import sys; from search.run import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "of_data = {'--train-size', '--target'} & {*sys.argv}\n"
        "heavy = {'torch', 'ray', 'optuna'} | (set() if of_data else {'numpy', 'psutil'})\n"
        "assert not heavy & set(sys.modules), sorted(sys.modules)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 30  # a hang, not a speed


def test_a_second_start_is_refused_within_two_seconds(tmp_path: Path):
    """Of computing, which is all that it does where nothing else runs."""
    new_run(tmp_path / "x", make_run(name="x"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with RunLock(tmp_path / "x"):
        done = subprocess.run(
            command(tmp_path, "--resume", "--name", "x"), cwd=ROOT, capture_output=True, text=True, check=False
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: run 'x' is in use by pid {os.getpid()} on ")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_a_space_that_states_less_is_asked_itself(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spaces.stated", lambda name: {})
    with signals_restored():
        assert main(["--runs-dir", str(tmp_path), "--min-epochs", "5000"]) == 2
        assert "--min-epochs must be at most the 9 epochs of a full trial, got 5000" in capsys.readouterr().err
        assert main(["--runs-dir", str(tmp_path), "--train-size", "5"]) == 2
        assert "--train-size must lie in [20, 1438]" in capsys.readouterr().err


def test_help_says_of_every_option_what_it_does(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for flag in FLAGS:
        assert f"--{WORDS.get(flag, flag.replace('_', '-'))}" in said
    assert "None" not in said


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("300k", 300_000), ("2M", 2_000_000), ("1.5M", 1_500_000)])
def test_counts_are_read_with_their_unit(text: str, number: int):
    assert parse_count("--max-weights", text) == number


@pytest.mark.parametrize(
    "space", ["code/my_space.yaml", "/a/my search.py:SPACE", "tabular_mlp@amounts", "a.b:SPACE", f"{'x' * 200}.py"]
)
def test_a_run_without_a_name_gets_a_valid_one(space: str):
    name = new_name(short_name(space))
    check_name(name)
    assert "/" not in name


@pytest.mark.parametrize("space", ["image_folder_arch", "image_folder_arch@unequal"])
def test_a_backbone_chooses_the_space_that_uses_it(space: str):
    assert Options(space=space, backbone="weights.pth").space == "image_folder_backbone"


def test_the_resume_command_repeats_what_the_run_does_not_store():
    options = Options(space="digits_arch", runs_dir=Path("/tmp/my runs"), concurrent=1)
    assert resume_command(options, "n") == (
        "python -m search.run --resume --name n --runs-dir '/tmp/my runs' --concurrent 1"
    )


@pytest.mark.parametrize("words", [["search", "--help"], ["final", "--help"], ["predict", "runs/x", "--top", "0"]])
def test_the_command_is_named_as_the_user_called_it(words: list[str]):
    command = [sys.executable, "-m", "rungwise.cli", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert f"usage: rungwise {words[0]}" in said or done.returncode == 2
    assert "python -m" not in said.splitlines()[0]
