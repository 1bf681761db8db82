"""A space in a YAML or JSON file: what it declares is searched, and a mistake is one line with the line of the file."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

import spaces
from search.storage.source_code import canonical, describe_change, describe_source, keep_source
from spaces import space
from spaces.declared import read_declaration
from spaces.fingerprint import fingerprint
from spaces.levels import complete, parameters
from spaces.origin import short_name
from tests.own_spaces import WHOLE

optuna.logging.set_verbosity(optuna.logging.ERROR)

YAML = """\
train: my_code.py:train
data: my_code.py:data
metric: loss
direction: minimize
epochs: 4

parameters:
  lr: {type: float, low: 1e-3, high: 1, log: true}
  width: {type: int, low: 4, high: 32, step: 4}
  optimizer:
    choices: [sgd, adamw, null]
  momentum: {type: float, low: 0.5, high: 0.9, when: {optimizer: sgd}}
  nesterov: {choices: [true, false], when: {optimizer: sgd, width: [4, 32]}}

baseline: {lr: 0.1, width: 8, optimizer: sgd, momentum: 0.75}
"""
CODE = WHOLE[: WHOLE.index("SPACE = ")]


def write(folder: Path, text: str = YAML, name: str = "my-space.yaml") -> Path:
    (folder / "my_code.py").write_text(CODE)
    (folder / name).write_text(text)
    return folder / name


def test_a_file_is_a_space_like_one_in_python(tmp_path: Path):
    found = space.load(str(write(tmp_path)))
    assert (found.metric, found.direction, found.epochs, found.own) == ("loss", "minimize", 4, True)
    unstated = space.load(str(write(tmp_path, YAML.replace("direction: minimize\n", ""))))
    assert unstated.objective("").direction == "minimize"
    assert callable(found.train)
    assert callable(found.data)
    assert found.test is None
    assert found.decode(found.baseline) == {"lr": 0.1, "width": 8, "optimizer": "sgd", "momentum": 0.75}
    known = parameters(found.suggest)
    assert list(known) == ["lr", "width", "optimizer", "momentum", "nesterov"]
    assert [type(known[name].ranges[0]).__name__[:3] for name in known] == ["Flo", "Int", "Cat", "Flo", "Cat"]
    assert fingerprint(found) == fingerprint(space.load(str(tmp_path / "my-space.yaml")))


def test_a_parameter_is_used_only_where_its_condition_holds(tmp_path: Path):
    found = space.load(str(write(tmp_path)))
    assert "momentum" not in complete(found.suggest, {"optimizer": "adamw"})
    assert "momentum" not in complete(found.suggest, {"optimizer": None})
    assert complete(found.suggest, {"optimizer": "sgd", "width": 32})["nesterov"] is False
    assert "nesterov" not in complete(found.suggest, {"optimizer": "adamw", "width": 32})
    assert "nesterov" not in complete(found.suggest, {"optimizer": "sgd", "width": 12})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        config = found.suggest(trial)
        assert found.decode(trial.params) == config
        assert ("momentum" in trial.params) == (trial.params["optimizer"] == "sgd")


def test_json_says_the_same(tmp_path: Path):
    declared = read_declaration(write(tmp_path))
    content = {**declared.settings.values}
    path = write(tmp_path, json.dumps(content, indent=1), "space.json")
    assert fingerprint(space.load(str(path))) == fingerprint(space.load(str(tmp_path / "my-space.yaml")))


def test_the_file_and_its_code_are_named_kept_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, YAML)
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "my_code.py").write_text("import helper\n" + CODE)
    assert spaces.stated(str(path)) == {"own": True, "metric": "loss", "direction": "minimize", "epochs": 4}
    spaces.check_name(str(path))
    monkeypatch.chdir(tmp_path)
    assert canonical("my-space.yaml") == str(path)
    assert short_name(str(path)) == "my-space"
    described = describe_source(str(path), test=False)
    assert described is not None
    assert described["files"] == ["helper.py", "my-space.yaml", "my_code.py"]
    run = tmp_path / "run"
    run.mkdir()
    keep_source(run, str(path))
    assert (run / "source" / "my-space.yaml").read_text() == YAML
    path.write_text(YAML.replace("epochs: 4", "epochs: 5"))
    assert "my-space.yaml" in (describe_change(run, str(path)) or "")


def test_code_in_a_folder_below_is_found(tmp_path: Path):
    write(tmp_path, YAML.replace("my_code.py", "inner/my_inner_code.py"))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "my_inner_code.py").write_text(CODE)
    assert callable(space.load(str(tmp_path / "my-space.yaml")).train)


CASES: list[tuple[str, str, str]] = [
    ("when: {optimizer: sgd}", "when: {lr: 0.1}", r"line 12: when of momentum needs a parameter with choices or whole"),
    ("train: my_code.py:train", "trian: my_code.py:train", r"line 1: a space has no 'trian' \(did you mean train\?\)"),
    ("train: my_code.py:train\n", "", r"needs either train or task, such as `train: my_code.py:train`"),
    ("data:", "task: my_code.py:train\ndata:", r"needs either train or task"),
    ("my_code.py:train", "my_code:train", r"line 1: train must name a file beside this one and a function"),
    ("my_code.py:train", "../my_code.py:train", r"line 1: train must name a file beside this one"),
    ("my_code.py:train", "/my_code.py:train", r"line 1: train must name a file beside this one"),
    ("my_code.py:train", "my_cod.py:train", r"line 1: there is no file '.*my_cod.py'"),
    ("my_code.py:train", "my_code.py:trian", r"line 1: my_code.py defines no trian \(did you mean train\?\)"),
    ("my_code.py:data", "my_code.py:5x", r"line 2: data must name a file"),
    ("metric: loss\n", "", r"metric is missing, such as `metric: accuracy`"),
    ("metric: loss", "metric: 5", r"line 3: metric must be a text, got 5"),
    ("direction: minimize", "direction: min", r"line 4: direction must be maximize or minimize, got 'min'"),
    ("epochs: 4\n", "", r"epochs is missing, such as `epochs: 10`"),
    ("epochs: 4", "epochs: 4.5", r"line 5: epochs must be a whole number of at least 1, got 4.5"),
    ("epochs: 4", "epochs: true", r"epochs must be a whole number of at least 1, got true"),
    ("epochs: 4", "epochs: 4\nmin_epochs: 5", r"line 6: min_epochs must be at most epochs, 4"),
    ("type: float, low: 1e-3", "low: 1e-3", r"line 8: lr needs a type, float or int, got null"),
    ("type: float, low: 1e-3", "type: real, low: 1e-3", r"line 8: lr needs a type, float or int, got 'real'"),
    ("type: float, low: 1e-3", "type: float, low: 0", r"line 8: lr is logarithmic, so low must be above 0, got 0.0"),
    ("type: float, low: 1e-3", "type: float, low: 2", r"line 8: low of lr must be below high, got 2.0 and 1.0"),
    ("type: float, low: 1e-3", "type: float, lo: 1e-3", r"line 8: a parameter has no 'lo' \(did you mean low\?\)"),
    ("type: float, low: 1e-3", "type: float", r"line 8: low of lr must be a number, got nothing"),
    ("type: float, low: 1e-3", "type: float, low: '1e-3'", r"line 8: low of lr must be a number, got '1e-3'"),
    ("type: float, low: 1e-3", "type: float, low: nan", r"line 8: low of lr must be a number, got 'nan'"),
    ("high: 1, log: true", "high: 1, log: yes", r"line 8: log of lr must be true or false, got 'yes'"),
    ("high: 1, log: true", "high: 1, log: true, step: 0.1", r"line 8: lr has log and step; leave one of them out"),
    ("low: 4, high: 32", "low: 4, high: 33", r"line 9: high of width must be a number of steps of 4 above 4, got 33"),
    ("low: 4, high: 32", "low: 4.5, high: 32", r"line 9: low of width must be a whole number, got 4.5"),
    ("choices: [sgd, adamw, null]", "choices: [sgd]", r"line 11: choices of optimizer must list two values or more"),
    ("choices: [sgd, adamw, null]", "choices: sgd", r"choices of optimizer must list two values or more, got 'sgd'"),
    ("choices: [sgd, adamw, null]", "choices: [sgd, [a]]", r"choices of optimizer must list two values or more"),
    ("choices: [sgd, adamw, null]", "choices: [sgd, sgd]", r"choices of optimizer must be different"),
    ("choices: [sgd, adamw, null]", "choices: [1, true]", r"choices of optimizer must be different"),
    (
        "choices: [sgd, adamw, null]",
        "choices: [sgd, adamw]\n    type: int",
        r"either choices, or a type with low and high",
    ),
    (
        "when: {optimizer: sgd}",
        "when: {optimiser: sgd}",
        r"line 12: when of momentum needs a parameter above it.*mean opti",
    ),
    ("when: {optimizer: sgd}", "when: {nesterov: true}", r"line 12: when of momentum needs a parameter above it"),
    (
        "when: {optimizer: sgd}",
        "when: {optimizer: sdg}",
        r"line 12: when of momentum: optimizer is never 'sdg'; it is in",
    ),
    (
        "when: {optimizer: sgd}",
        "when: {optimizer: []}",
        r"line 12: when of momentum needs a value of optimizer \(.*sgd.*\), got \[\]",
    ),
    (
        "when: {optimizer: sgd}",
        "when: optimizer",
        r"when of momentum must be such as \{optimizer: sgd\}, got 'optimizer'",
    ),
    ("width: [4, 32]}}", "width: 9}}", r"when of nesterov: width is never 9; it is in 4..32 in steps of 4"),
    ("  lr: {", "  'l r': {", r"line 8: the name of a parameter has letters, digits and _, got 'l r'"),
    ("{lr: 0.1, width: 8,", "{lr: 0.1,", r"line 15: the baseline needs width, a value in 4..32 in steps of 4"),
    ("{lr: 0.1,", "{lr: 3,", r"line 15: lr must lie in 0.001..1.0 \(log\), got 3.0"),
    ("{lr: 0.1,", "{lr: 0.1, depth: 3,", r"line 15: there is no parameter 'depth'"),
    ("optimizer: sgd, momentum", "optimizer: adamw, momentum", r"line 15: momentum is not used with the other values"),
    (
        "optimizer: sgd, momentum: 0.75",
        "optimizer: sdg",
        r"line 15: optimizer must lie in \{'sgd', 'adamw', null\}, got",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), CASES, ids=[new[:40].strip() or old[:40] for old, new, _ in CASES])
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, old: str, new: str, message: str):
    assert old in YAML
    path = write(tmp_path, YAML.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        spaces.check_name(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.yaml", r"--space: there is no file 'gone.yaml'; give the path of your file"),
        (
            "my space.yaml",
            r"--space must name a file of letters, digits, '_', '-' and '.', got 'my space.yaml'; rename it",
        ),
    ],
)
def test_a_file_that_cannot_be_named_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, name="my space.yaml")
    with pytest.raises(ValueError, match=message):
        spaces.check_name(name)


def test_what_a_file_names_must_be_a_function(tmp_path: Path):
    path = write(tmp_path, YAML.replace("my_code.py:data", "my_code.py:LIST"))
    (tmp_path / "my_code.py").write_text(CODE + "\nLIST = []\n")
    with pytest.raises(ValueError, match=r"my-space.yaml, line 2: LIST must be a function, got a list"):
        space.load(str(path))


def test_a_value_that_is_whole_is_a_float_where_a_float_is_declared(tmp_path: Path):
    declared: Any = read_declaration(write(tmp_path, YAML.replace("{lr: 0.1,", "{lr: 1,")))
    assert (declared.baseline["lr"], type(declared.baseline["lr"])) == (1.0, float)
