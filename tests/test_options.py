"""Every option has a rule; breaking it is one line and exit code 2, before torch or Ray is imported."""

import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from search.options import Options, parse_count, resume_command
from search.run import main
from tests.searching import ROOT

FLAGS = (
    "space name trials time_budget max_epochs min_epochs reduction_factor pruner sampler seed data_dir target task"
    " drop runs_dir train_size max_weights max_macs resume force study_url storage address concurrent cpus_per_trial"
    " gpus_per_trial max_failures trial_timeout logger dry_run debug"
).split()

BAD = [
    (["--trials", "0"], "--trials must lie in [1, 1000000], got 0"),
    (["--trials", "-3"], "--trials must lie in [1, 1000000], got -3"),
    (["--trials", "1.5"], "--trials must be a whole number, got '1.5'"),
    (["--trials", "many"], "--trials must be a whole number, got 'many'"),
    (["--trials", "99999999999"], "--trials must lie in [1, 1000000], got 99999999999"),
    (["--trials"], "Missing value for argument '--trials'"),
    (["--trails", "5"], "did you mean --trials?"),
    (["--max-epochs", "0"], "--max-epochs must lie in [1, 100000], got 0"),
    (["--max-epochs", "nan"], "--max-epochs must be a whole number, got 'nan'"),
    (["--min-epochs", "0"], "--min-epochs must lie in [1, 100000], got 0"),
    (["--min-epochs", "9", "--max-epochs", "3"], "--min-epochs must be at most --max-epochs 3, got 9"),
    (["--min-epochs", "5000"], "--min-epochs must be at most the"),
    (["--reduction-factor", "1"], "--reduction-factor must lie in [2, 100], got 1"),
    (["--reduction-factor", "0.5"], "--reduction-factor must be a whole number, got '0.5'"),
    (["--seed", "-1"], "--seed must lie in [0, 4294967295], got -1"),
    (["--seed", "1e5"], "--seed must be a whole number, got '1e5'"),
    (["--seed", "4294967296"], "--seed must lie in [0, 4294967295], got 4294967296"),
    (["--time-budget", "0"], "--time-budget must be a positive number of minutes, got 0.0"),
    (["--time-budget", "-5"], "--time-budget must be a positive number of minutes, got -5.0"),
    (["--time-budget", "nan"], "--time-budget must be a positive number of minutes, got nan"),
    (["--time-budget", "inf"], "--time-budget must be a positive number of minutes, got inf"),
    (["--time-budget", "soon"], "--time-budget must be a number, got 'soon'"),
    (["--pruner", "asah"], "invalid choice 'asah'"),
    (["--sampler", "bayes"], "invalid choice 'bayes'"),
    (["--logger", "comet"], "invalid choice 'comet'"),
    (["--space", "cifr_arch"], "unknown space 'cifr_arch'"),
    (["--space", "digit_arch"], "(did you mean digits_arch?)"),
    (["--space", ""], "unknown space ''"),
    (["--space", "../evil"], "unknown space '../evil'"),
    (["--space", "parts"], "unknown space 'parts'"),
    (["--space", "x" * 300], "unknown space 'xxx"),
    (["--name", ""], "--name must be 1 to 100 letters"),
    (["--name", "a/b"], "got 'a/b'"),
    (["--name", ".."], "got '..'"),
    (["--name", ".hidden"], "got '.hidden'"),
    (["--name", "two\nlines"], r"got 'two\nlines'"),
    (["--name", "x" * 300], "got 'xxx"),
    (["--name", "größe"], "got 'größe'"),
    (["--name", "a b"], "got 'a b'"),
    (["--name", "a;rm"], "got 'a;rm'"),
    (["--name=-x"], "got '-x'"),
    (["--target", "price"], "--target is for a table of your own, digits has its own target; leave it out"),
    (["--drop", "id"], "--task and --drop are for a table of your own and need --target"),
    (["--task", "ranking", "--target", "price"], "invalid choice 'ranking'"),
    (["--train-size", "0"], "--train-size must lie in [2, 1000000000], got 0"),
    (["--train-size", "5"], "train_size must lie in"),
    (["--train-size", "1000000"], "train_size must lie in"),
    (["--max-weights", "0"], "--max-weights must be a positive number such as 300k"),
    (["--max-weights", "2X"], "got '2X'"),
    (["--max-weights", "-1"], "--max-weights"),
    (["--max-macs", "nan"], "--max-macs must be a positive number"),
    (["--max-macs", "1e9"], "got '1e9'"),
    (["--concurrent", "0"], "--concurrent must lie in [1, 10000], got 0"),
    (["--concurrent", "9999"], "--concurrent must be at most"),
    (["--cpus-per-trial", "0"], "--cpus-per-trial must lie in [1, 1024], got 0"),
    (["--cpus-per-trial", "1000"], "--cpus-per-trial must be at most the"),
    (["--gpus-per-trial", "-0.5"], "--gpus-per-trial must lie in [0, 1], got -0.5"),
    (["--gpus-per-trial", "2"], "a trial runs on one GPU or a part"),
    (["--gpus-per-trial", "nan"], "--gpus-per-trial must lie in [0, 1], got nan"),
    (["--max-failures", "-1"], "--max-failures must lie in [0, 1000], got -1"),
    (["--trial-timeout", "0"], "--trial-timeout must be a positive number of seconds, got 0.0"),
    (["--trial-timeout", "nan"], "--trial-timeout must be a positive number of seconds, got nan"),
    (["--trial-timeout", "soon"], "--trial-timeout must be a number, got 'soon'"),
    (["--resume"], "--resume needs --name"),
    (["--resume", "--name", "nothing"], "there is no run 'nothing'"),
    (["--study-url", "postgresql://me:secret@host/db"], "--study-url must not hold a password"),
    (["--study-url", "nonsense"], "--study-url must be a database URL"),
    (["--storage", "shared"], "--storage must be a URI such as s3://bucket/searches or file:///shared, got 'shared'"),
    (["--storage", "s3://"], "--storage must be a URI"),
    (["--storage", "s3://me:secret@bucket/x"], "--storage must not hold credentials"),
    (["--storage", "s3://bucket/x?secret_key=1"], "--storage must not hold credentials"),
    (["--storage", "nonsense://bucket/x"], "--storage must be a URI that pyarrow knows, got 'nonsense://bucket/x'"),
    (["--storage", "file:///no/such/folder"], "--storage must be a folder that exists, got 'file:///no/such/folder'"),
    (["--address", "local"], "--address must be auto or HOST:PORT, got 'local'"),
    (["--address", "ray://head:10001"], "--address must be auto or HOST:PORT, got 'ray://head:10001'"),
    (["--runs-dir", "/dev/null/runs", "--name", "x"], "no run can be made in '/dev/null/runs' (Not a directory)"),
    (["surplus"], "surplus"),
    (["--debug=maybe"], "maybe"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words)[:40] for words, _ in BAD])
def test_a_bad_option_is_one_line_with_exit_code_two_and_no_file(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    here = [] if "--runs-dir" in words else ["--runs-dir", str(tmp_path / "runs")]
    assert main([*here, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert "secret" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_the_flags_are_those_that_users_know():
    assert [f.name for f in fields(Options)] == FLAGS


@pytest.mark.parametrize("words", [["--trials", "0"], ["--space", "cifr_arch"], ["--help"]])
def test_a_mistake_and_a_question_are_answered_without_importing_torch_or_ray(words: list[str]):
    program = (
        "import sys; from search.run import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules), sorted(sys.modules)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 30  # a hang, not a speed


def test_help_says_of_every_option_what_it_does(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for flag in FLAGS:
        assert f"--{flag.replace('_', '-')}" in said
    assert "None" not in said


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("300k", 300_000), ("2M", 2_000_000), ("1.5M", 1_500_000)])
def test_counts_are_read_with_their_unit(text: str, number: int):
    assert parse_count("--max-weights", text) == number


def test_the_resume_command_repeats_what_the_run_does_not_store():
    options = Options(space="digits_arch", runs_dir=Path("/tmp/my runs"), concurrent=1)
    assert resume_command(options, "n") == (
        "python -m search.run --resume --name n --runs-dir '/tmp/my runs' --concurrent 1"
    )
