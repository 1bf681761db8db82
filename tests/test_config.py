"""--config: options of a search from a file; the command line replaces them, and the run keeps what was used."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.forecast.retraining import asked
from search.session.checks import check
from search.session.config import Given, read_options, used
from search.session.opening import resumed_run
from search.session.session import Session
from search.storage.run import read_run
from search.storage.study import new_run
from tests.ledgers import make_run


def given(folder: Path, content: Any, *words: str, ending: str = "yaml") -> Given:
    path = folder / f"my.{ending}"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_options([*words, "--config", str(path)], prog="rungwise search")


def test_options_of_a_file_are_those_of_the_command_line(tmp_path: Path):
    content = {
        "space": "digits_arch", "trials": 7, "max-epochs": 3, "min_epochs": 1, "sampler": "tpe", "max_weights": "2M",
        "fix": {"depth": 2}, "set": {"sgd_lr": "1e-3..1e-1", "batch_size": [32, 64]}, "question": ["batch_norm"],
        "try": "a.json", "debug": True, "dry_run": False, "time_budget": 2.5, "name": "x", "metric": None,
    }  # fmt: skip
    found = given(tmp_path, content)
    words = "--space digits_arch --trials 7 --max-epochs 3 --min-epochs 1 --sampler tpe --max-weights 2M --fix depth=2"
    words += " --set sgd_lr=1e-3..1e-1 --set batch_size=32,64 --question batch_norm --try a.json --debug"
    words += f" --time-budget 2.5 --name x --config {tmp_path}/my.yaml"
    assert found.options == read_options(words.split(), prog="x").options
    assert found.names >= {"trials", "max_epochs", "fix", "try", "debug", "config"}
    assert not {"dry_run", "metric"} & found.names


def test_the_command_line_replaces_the_file(tmp_path: Path):
    content = {"trials": 7, "seed": 3, "fix": ["depth=2", "batch_norm=true"], "sampler": "tpe"}
    options = given(tmp_path, content, "--trials", "9", "--fix", "depth=1", "--sampler=random").options
    assert (options.trials, options.seed, options.fix, options.sampler) == (9, 3, ("depth=1",), "random")
    assert used(options) == {"file": str(tmp_path / "my.yaml"), "options": {"seed": 3}}


def test_columns_can_be_listed_and_typed(tmp_path: Path):
    content = {
        "space": "tabular_mlp",
        "target": "y",
        "drop": ["id", "a, b"],
        "types": {"zip, code": "category", "n": "number"},
    }
    options = given(tmp_path, content, ending="json").options
    assert options.table is not None
    assert (options.table.drop, dict(options.table.types)) == (("id", "a, b"), {"zip, code": "category", "n": "number"})


@pytest.mark.parametrize(
    ("text", "objectives"),
    [
        ("objective: weights", ("weights",)),
        ("objective: {latency: min}", ("latency:min",)),
        ("objective: {accuracy: null, weights: min}", ("accuracy", "weights:min")),
        ("objective:\n  - accuracy\n  - speed: max", ("accuracy", "speed:max")),
        ("objective: ['latency:min']", ("latency:min",)),
    ],
)
def test_objectives_can_be_names_or_names_with_directions(tmp_path: Path, text: str, objectives: tuple[str, ...]):
    assert given(tmp_path, text).options.objective == objectives


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails: 5", r"my.yaml, line 1: there is no option 'trails' \(did you mean trials\?\)"),
        ("trials: many", r"^--trials must be a whole number, got 'many' \(.*my.yaml, line 1\)$"),
        ("seed: 1\ntrials: 1.5", r"^--trials must be a whole number, got '1.5' \(.*my.yaml, line 2\)$"),
        ("trials: [1, 2]", r"my.yaml, line 1: trials must be a text or a number, got a list"),
        ("trials: {a: 1}", r"my.yaml, line 1: trials must be a text or a number, got names and values"),
        ("name: true", r"name must be a text or a number, got true; put it in quotes"),
        ("debug: 1", r"my.yaml, line 1: debug must be true or false, got 1"),
        ("debug: 'true'", r"debug must be true or false, got 'true'"),
        ("max_epochs: 3\nmax-epochs: 4", r"my.yaml, line 2: max-epochs appears twice"),
        ("resume: true", r"resume is given on the command line, not in a file of options"),
        ("config: other.yaml", r"config is given on the command line"),
        ("pruner: ahsa", r"^--pruner must be one of 'asha', .*, got 'ahsa' \(.*my.yaml, line 1\)$"),
        ("seed: 1\nobjective: {latency: 3}", r"my.yaml, line 2: objective latency must be min or max, got 3"),
        ("objective: {latency: [min]}", r"objective latency must be min or max, got a list"),
        ("fix: [[1]]", r"fix must be a text or a number, got a list"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        given(tmp_path, text)


def test_a_rule_that_a_value_of_the_file_breaks_is_given_with_the_line(tmp_path: Path):
    found = given(tmp_path, "seed: 1\ntrials: 0")
    with pytest.raises(ValueError, match=r"--trials must lie in \[1, 1000000\], got 0 \(.*my.yaml, line 2\)$"):  # noqa: SIM117
        with found.naming_the_file():
            check(found.options)
    found = given(tmp_path / "..", "seed: 1", "--trials", "0")
    with pytest.raises(ValueError, match=r"got 0$"), found.naming_the_file():
        check(found.options)


def test_a_mistake_on_the_command_line_is_not_put_down_to_the_file(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^--trials must be a whole number, got 'x'; see rungwise search --help$"):
        given(tmp_path, {"trials": 5}, "--trials", "x")


def test_a_resumed_search_may_be_given_the_file_that_it_began_with(tmp_path: Path):
    found = given(tmp_path, {"trials": 5, "try": "gone.json", "name": "x"}, "--resume")
    assert (found.options.tries, found.options.name, found.options.trials) == ((), "x", 5)


def test_a_file_that_asks_for_fewer_trials_than_the_extended_run_is_no_mistake(tmp_path: Path):
    new_run(tmp_path / "x", make_run(name="x", trials=30))
    words = ("--resume", "--name", "x", "--runs-dir", str(tmp_path))
    found = given(tmp_path, {"trials": 5}, *words)
    assert resumed_run(found.options, given=found.names).trials == 30
    alone = replace(found.options, config=None)
    with pytest.raises(ValueError, match="--trials must be at least 30"):
        resumed_run(alone, given=found.names)


def test_the_run_keeps_what_was_taken_from_the_file_and_says_it(tmp_path: Path):
    found = given(tmp_path, {"trials": 5, "max_epochs": 2, "fix": {"depth": 1}}, "--trials", "6", "--name", "kept")
    run = Session.open(found.options, given=found.names).run
    new_run(tmp_path / "r", run)
    assert read_run(tmp_path / "r").config == {
        "file": str(tmp_path / "my.yaml"),
        "options": {"max_epochs": 2, "fix": {"depth": 1}},
    }
    assert asked(run)[0] == f'options from {tmp_path}/my.yaml: max_epochs 2, fix {{"depth": 1}}'
    assert not [line for line in asked(make_run()) if "options from" in line]
